// The buttons "Rename" and "Delete" of things, on whatever page they are.
import { tell } from "/static/studio.js";
import { askDelete, askRename, pageOf } from "/static/dialogs.js";
import { refreshLists } from "/static/patch.js";

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

document.addEventListener("click", (event) => {
  const asked = event.target.closest?.("[data-do]")?.dataset;
  if (asked) doing[asked.do](asked.kind, asked.name).catch((error) => tell(error.message));
});
