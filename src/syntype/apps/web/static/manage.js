// The buttons "Rename" and "Delete" of things, on whatever page they are.
import { call, tell } from "./studio.js";
import { askDelete, askRename, pageOf } from "./dialogs.js";
import { refreshLists } from "./patch.js";

const doing = {
  rename: async (kind, name) => {
    const thing = await askRename(kind, name);
    if (!thing) return;
    if (document.querySelector("[data-live]")) await refreshLists();
    else location.replace(pageOf(thing) ?? "/storage"); // the address of before leads nowhere
  },
  delete: async (kind, name) => {
    const entry = await askDelete(kind, name);
    if (entry) location.assign(`/?${new URLSearchParams({ deleted: entry.id })}`);
  },
};

// "Resume the training" of a generator that is not finished: its job's page shows how far it is.
async function resume(button) {
  button.disabled = true;
  try {
    const job = await call("POST", `/api/jobs/${button.dataset.resume}/resume`);
    location.assign(`/jobs/${job.id}`);
  } catch (error) {
    button.disabled = false;
    throw error;
  }
}

document.addEventListener("click", (event) => {
  const stopped = event.target.closest?.("[data-resume]");
  if (stopped) resume(stopped).catch((error) => tell(error.message));
  const asked = event.target.closest?.("[data-do]")?.dataset;
  if (asked) doing[asked.do](asked.kind, asked.name).catch((error) => tell(error.message));
});
