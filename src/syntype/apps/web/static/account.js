import { byId, call, onSubmit, tell } from "./studio.js";
import { t } from "./texts.js";

byId("signout")?.addEventListener("click", async () => {
  try {
    await call("DELETE", "/api/session");
    localStorage.removeItem("reviewer"); // the next one here has another name
    location.assign("/signin");
  } catch (error) {
    tell(error.message);
  }
});
if (byId("changing"))
  onSubmit(byId("changing"), async () => {
    byId("changed").textContent = "";
    await call("POST", "/api/session/password", { old: byId("old").value, new: byId("new").value });
    byId("changing").reset();
    byId("changed").textContent = t("The password was changed.");
  });
