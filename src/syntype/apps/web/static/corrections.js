// Corrections before an import: names of species, species left out, licence and photographer filled in. They outlive a reload of the page.
import { byId, make } from "./studio.js";
import { t, tn } from "./texts.js";

let place = null; // where they are kept in this tab
let kept = { rename: {}, leave_out: [], values: {} };

const keep = () => sessionStorage.setItem(place, JSON.stringify(kept));
const tidy = (text) => text.normalize("NFC").trim().split(/\s+/u).join(" ");
const any = () => Object.keys(kept.rename).length + kept.leave_out.length + Object.keys(kept.values).length > 0;

// As options of an import.
export const corrections = () => ({
  ...kept.values,
  rename: Object.entries(kept.rename).filter(([old]) => !kept.leave_out.includes(old)).map(([old, name]) => `${old}=${name}`),
  leave_out: kept.leave_out,
});

export const clearCorrections = () => sessionStorage.removeItem(place);

function tile(name, count, picture, index) {
  const field = make("input", { id: `species-${index}`, value: kept.rename[name] ?? name, maxLength: 300, autocomplete: "off", spellcheck: false });
  const tick = make("input", { type: "checkbox", checked: !kept.leave_out.includes(name), id: `import-${index}` });
  field.dataset.species = tick.dataset.species = name;
  field.setAttribute("aria-label", t("Name of {species}", { species: name }));
  const label = make("label", { className: "inline" }, tick, make("span", { textContent: tn("{n} photograph", "{n} photographs", count) }));
  const item = make("li", {}, ...(picture ? [picture] : []), field, label);
  item.classList.toggle("out", !tick.checked);
  return item;
}

// The species of a source as it was sent. Those that are no longer there take their corrections with them.
export function listSpecies(found, address) {
  const names = Object.entries(found.species).filter(([name]) => name !== "none");
  const known = new Set(names.map(([name]) => name));
  kept.rename = Object.fromEntries(Object.entries(kept.rename).filter(([name]) => known.has(name)));
  kept.leave_out = kept.leave_out.filter((name) => known.has(name));
  const pictures = new Map(found.examples.filter((row) => row.path).map((row) => [row.species, row.path]));
  const picture = (name) => pictures.has(name) && make("img", { loading: "lazy", alt: "", src: `${address}/thumbnail?${new URLSearchParams({ path: pictures.get(name) })}` });
  byId("species").replaceChildren(...names.map(([name, count], index) => tile(name, count, picture(name), index)));
  byId("more-species").hidden = found.num_species <= names.length;
  byId("more-species").textContent = t("These are the {number} commonest of {total} species. The others are imported under their names.", { number: names.length, total: found.num_species });
  byId("species-hint").hidden = !names.length;
  show();
}

function show() {
  byId("as-sent").hidden = !any();
  for (const field of document.querySelectorAll("[data-correction]")) field.value = kept.values[field.id] ?? "";
}

function changed(field) {
  const name = field.dataset.species;
  if (field.type === "checkbox") {
    kept.leave_out = kept.leave_out.filter((other) => other !== name);
    if (!field.checked) kept.leave_out.push(name);
    field.closest("li").classList.toggle("out", !field.checked);
  } else {
    field.value = tidy(field.value) || name; // an empty name is none
    delete kept.rename[name];
    if (field.value !== name) kept.rename[name] = field.value;
  }
}

// Call `look` after each correction. What was corrected before a reload of the page is there again.
export function followCorrections(upload, look) {
  place = `corrections-${upload}`;
  kept = JSON.parse(sessionStorage.getItem(place) ?? "null") ?? kept;
  const follow = (change) => {
    change();
    keep();
    byId("as-sent").hidden = !any();
    look();
  };
  byId("species").addEventListener("change", ({ target }) => follow(() => changed(target)));
  for (const field of document.querySelectorAll("[data-correction]")) {
    field.addEventListener("change", () =>
      follow(() => {
        delete kept.values[field.id];
        if (tidy(field.value)) kept.values[field.id] = tidy(field.value);
      }),
    );
  }
  byId("as-sent").addEventListener("click", () =>
    follow(() => {
      kept = { rename: {}, leave_out: [], values: {} };
      for (const item of byId("species").children) {
        const [field, tick] = item.querySelectorAll("input");
        [field.value, tick.checked] = [field.dataset.species, true];
        item.classList.remove("out");
      }
      show();
    }),
  );
  show();
}
