// The names of photographs are corrected, several at once, and the latest change is taken back.
import { ask } from "./dialogs.js";
import { call, make } from "./studio.js";
import { t, tn } from "./texts.js";

const address = (collection) => `/api/collections/${collection}`;

// Ask for the right name and save it: gives what was done in a sentence, null if nothing was.
export async function askNames(collection, ids) {
  const list = make("datalist", { id: "known-names" });
  const field = make("input", { id: "right-name", maxLength: 300, autocomplete: "off", autofocus: true, required: true });
  field.setAttribute("list", list.id);
  field.addEventListener("input", async () => {
    const found = await call("GET", `/api/collections/${collection}/species?${new URLSearchParams({ query: field.value })}`).catch(() => []);
    list.replaceChildren(...found.map((item) => make("option", { value: item.species })));
  });
  const without = make("input", { type: "checkbox" });
  without.addEventListener("change", () => (field.disabled = without.checked));
  const label = make("label", { textContent: t("Right name") });
  label.htmlFor = field.id;
  const parts = [
    make("p", { textContent: tn("Of {n} photograph. The files stay as they are, and the first name is kept in the column verbatim_name. You can take it back.", "Of {n} photographs. The files stay as they are, and the first name is kept in the column verbatim_name. You can take it back.", ids.length) }),
    label, field, list,
    make("label", { className: "inline" }, without, make("span", { textContent: tn("Leave it out instead: nothing learns from it", "Leave them out instead: nothing learns from them", ids.length) })),
  ]; // prettier-ignore
  const who = localStorage.getItem("reviewer");
  return ask(t("Correct the name"), parts, t("Save"), () => call("POST", `${address(collection)}/names`, { image_ids: ids, species: without.checked ? null : field.value.trim(), who }));
}

export const undoChange = (collection) => call("POST", `${address(collection)}/changes/undo`);
