// The buttons "Rename" and "Delete" on the page of a thing.
import { tell } from "/static/studio.js";
import { askDelete, askRename, pageOf } from "/static/dialogs.js";

const doing = {
  rename: async (kind, name) => {
    const thing = await askRename(kind, name);
    if (thing) location.replace(pageOf(thing) ?? "/storage");
  },
  delete: async (kind, name) => {
    const entry = await askDelete(kind, name);
    if (entry) location.assign(`/?${new URLSearchParams({ deleted: entry.id })}`);
  },
};

for (const button of document.querySelectorAll("[data-do]")) {
  button.addEventListener("click", () => doing[button.dataset.do](button.dataset.kind, button.dataset.name).catch((error) => tell(error.message)));
}
