// Where photographs come in, and the sample to try things with.
import { offerUndo } from "./dialogs.js";
import { refreshLists } from "./patch.js";
import { byId, call, make, onSubmit, tell } from "./studio.js";
import { send } from "./upload.js";
import { t } from "./texts.js";

onSubmit(byId("importing"), async () => {
  const upload = await send(byId("species").value.trim());
  location.assign(`/uploads/${upload}?${new URLSearchParams({ name: byId("name").value })}`);
});
byId("waiting").addEventListener("click", async (event) => {
  const upload = event.target.dataset.discard;
  if (!upload) return;
  event.target.disabled = true;
  try {
    const entry = await call("DELETE", `/api/storage/uploads/${upload}`);
    const place = byId("deleted") ?? byId("waiting").insertAdjacentElement("afterend", make("p", { id: "deleted", className: "told" }));
    place.setAttribute("role", "status");
    offerUndo(place, entry, () => refreshLists());
    tell("");
  } catch (error) {
    tell(error.message);
  }
  await refreshLists().catch((error) => tell(error.message));
});
document.addEventListener("click", async (event) => {
  if (event.target.id !== "try") return;
  event.target.disabled = true;
  try {
    location.assign(`/jobs/${(await call("POST", "/api/jobs", { kind: "reef", name: t("Drawn reef") })).id}`);
  } catch (error) {
    tell(error.message);
    event.target.disabled = false;
  }
});
