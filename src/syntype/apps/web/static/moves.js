// Photographs move to another collection: what goes where is told before anything is done.
import { ask } from "./dialogs.js";
import { call, make, tell, thumbnail } from "./studio.js";
import { t, tn } from "./texts.js";

const list = (sentences) => make("ul", { className: "notes" }, ...sentences.map((textContent) => make("li", { textContent })));

function pairs(found, from, to) {
  const side = (collection, image) => make("img", { src: thumbnail(collection, image, 160), alt: t("{species}, image {name} of {collection}", { species: image.species ?? t("no species"), name: image.image_id, collection }), width: 80, height: 80 });
  return make("div", { className: "small" }, ...found.near.map(({ image, first }) => make("span", { className: "alike" }, side(from, image), side(to, first))));
}

// Ask where to, tell what that would do, and do it. Without ids all photographs of the collection move; the answer of the server with where they went, or null.
export async function askMove(from, ids, to = null) {
  const others = (await call("GET", "/api/collections")).filter((item) => item.name !== from && item.origins.real && !item.origins.synthetic && !item.damaged);
  if (!others.length) throw new Error(t("There is no other collection of photographs. Import one first."));
  const field = make("select", { id: "move-to", disabled: Boolean(to) }, ...others.map((item) => make("option", { value: item.name, textContent: item.title, selected: item.name === to })));
  const label = make("label", { textContent: t("To the collection") });
  label.htmlFor = field.id;
  const told = make("div", { id: "move-told" });
  told.setAttribute("role", "status");
  const request = (more) => call("POST", `/api/collections/${from}/move`, { to: field.value, image_ids: ids, who: localStorage.getItem("reviewer"), ...more });
  let asked = 0;
  const look = async () => {
    const mine = ++asked;
    told.textContent = t("Comparing with what is there…");
    const found = await request({ dry_run: true }).catch((error) => ({ told: [error.message], dependents: [], near: [] }));
    if (mine !== asked) return;
    const made = found.dependents.length ? [make("p", { textContent: t("What was made from these collections stays as it is:") }), list(found.dependents)] : [];
    told.replaceChildren(list(found.told), ...(found.near.length ? [make("p", { textContent: t("Nearly the same, beside what is there:") }), pairs(found, from, field.value)] : []), ...made);
  };
  field.addEventListener("change", look);
  look();
  const title = ids ? tn("Move {n} photograph", "Move {n} photographs", ids.length) : t("Add all photographs to a collection");
  return ask(title, [label, field, told, make("p", { className: "hint", textContent: t("You can take it back with z on the page of either collection.") })], ids ? t("Move") : t("Add"), async () => ({ ...(await request({})), to: field.value }));
}

document.addEventListener("click", async (event) => {
  const asked = event.target.closest?.("[data-move]")?.dataset;
  if (!asked) return;
  try {
    if (await askMove(asked.move, null, asked.to)) location.assign(`/collections/${asked.to}`);
  } catch (error) {
    tell(error.message);
  }
});
