// Images beside the photographs from which they were made.
import { call, make, thumbnail } from "./studio.js";
import { decimal, t, tn } from "./texts.js";

function child(collection, image) {
  const words = image.strength === null ? "" : t("strength {number}", { number: decimal(image.strength) });
  const link = make("a", { href: `/collections/${collection}/images/${encodeURIComponent(image.image_id)}` });
  link.append(make("img", { src: thumbnail(collection, image, "160"), alt: t("{species}, synthetic", { species: image.species ?? t("no species") }) + (words && `, ${words}`), loading: "lazy" }));
  return make("li", {}, link, ...(words ? [make("p", { textContent: words })] : []));
}

function family(collection, parent) {
  const picture = parent.collection
    ? make("a", { href: `/collections/${parent.collection}/images/${encodeURIComponent(parent.image_id)}` }, make("img", { src: thumbnail(parent.collection, parent, "320"), alt: t("Photograph {name}", { name: parent.image_id }), loading: "lazy" }))
    : make("p", { className: "hint", textContent: t("This photograph is not in the workspace any more.") });
  const more = parent.num_children - parent.children.length;
  const rest = more ? [make("p", { className: "hint", textContent: tn("and {n} more in the collection", "and {n} more in the collection", more) })] : [];
  const results = make("div", {}, make("ul", { className: "grid" }, ...parent.children.map((image) => child(collection, image))), ...rest);
  return make("li", { className: "family" }, make("figure", {}, picture, make("figcaption", { textContent: t("Photograph {name}", { name: parent.image_id }) })), results);
}

// Whether there are some.
export async function showParents(place, collection) {
  const { total, parents } = await call("GET", `/api/collections/${collection}/parents`);
  if (!parents.length) return false;
  const more = total > parents.length ? [make("p", { className: "hint", textContent: t("These are the first {number} of {total} photographs.", { number: parents.length, total }) })] : [];
  place.replaceChildren(make("h2", { textContent: t("Photographs, and what was made from each") }), make("ul", {}, ...parents.map((parent) => family(collection, parent))), ...more);
  place.hidden = false;
  return true;
}
