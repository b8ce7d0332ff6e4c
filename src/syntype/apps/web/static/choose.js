// Choose training photographs of a collection, a page at a time.
import { before, keepState } from "./new.js";
import { byId, call, make, tell, thumbnail } from "./studio.js";
import { t } from "./texts.js";

const PAGE = 12;
const place = byId("photographs");
const collection = byId("collection");
const species = byId("narrow");
const earlier = history.state?.picked; // before one went away from this page
const picked = new Set(earlier ?? (place.dataset.given ? [place.dataset.given] : []));
let offset = 0;

export const chosen = () => [...picked];

function changed() {
  keepState({ picked: chosen() });
  showChosen();
  place.dispatchEvent(new CustomEvent("picked"));
}

// The photographs that are chosen, also those of other pages of the list.
function showChosen() {
  if (!place.dataset.many) return;
  byId("chosen").replaceChildren(
    ...chosen().map((id) => {
      const remove = make("button", { type: "button", className: "second", textContent: t("Remove"), ariaLabel: t("Remove photograph {name}", { name: id }) });
      remove.addEventListener("click", () => {
        picked.delete(id);
        for (const input of byId("found").querySelectorAll("input")) input.checked = picked.has(input.dataset.image);
        changed();
      });
      return make("li", {}, make("img", { src: thumbnail(collection.value, { image_id: id }, 320), alt: t("Photograph {name}", { name: id }) }), remove);
    }),
  );
  byId("chosen-title").hidden = !picked.size;
}

function photograph(image) {
  const input = make("input", { type: place.dataset.many ? "checkbox" : "radio", name: "", checked: picked.has(image.image_id) });
  input.addEventListener("change", () => {
    if (!place.dataset.many) {
      picked.clear();
      for (const other of byId("found").querySelectorAll("input")) other.checked = other === input;
    }
    if (input.checked) picked.add(image.image_id);
    else picked.delete(image.image_id);
    changed();
  });
  input.dataset.image = image.image_id;
  const picture = make("img", { src: thumbnail(collection.value, image, 160), alt: "", width: 160, height: 160 });
  return make("li", {}, make("label", {}, picture, input, ` ${image.species ?? t("no species")}, ${image.image_id}`));
}

async function show() {
  const query = new URLSearchParams({ split: "train", origin: "real", limit: PAGE, offset, ...(species.value && { species: species.value }) });
  const { total, images } = await call("GET", `/api/collections/${collection.value}/images?${query}`);
  byId("found").replaceChildren(...images.map(photograph));
  byId("counted").textContent = total ? t("{first} to {last} of {total}", { first: offset + 1, last: offset + images.length, total }) : t("No training photograph matches.");
  byId("earlier").disabled = offset === 0;
  byId("more").disabled = offset + PAGE >= total;
}

async function offer() {
  const found = await call("GET", `/api/collections/${collection.value}/species?${new URLSearchParams({ query: species.value })}`);
  byId("narrow-found").replaceChildren(...found.map((item) => make("option", { value: item.species })));
  return found.some((item) => item.species === species.value) || !species.value;
}

const trying = (action) => action().catch((error) => tell(error.message));
const from = (where) => trying(() => ((offset = where), show()));
byId("earlier").addEventListener("click", () => from(Math.max(0, offset - PAGE)));
byId("more").addEventListener("click", () => from(offset + PAGE));
species.addEventListener("input", () => trying(async () => (await offer()) && (await from(0))));
collection.addEventListener("change", () => {
  picked.clear();
  species.value = "";
  changed();
  trying(offer);
  from(0);
});
before((request) => {
  if (!picked.size) throw new Error(t("Choose a photograph first."));
  request.photographs = chosen();
});
showChosen();
trying(offer);
from(0);
