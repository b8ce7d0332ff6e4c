// The form of a job: its fields become the request, whose page opens.
import "./made-from.js";
import { byId, call, make, onSubmit, tell } from "./studio.js";
import { t, tn } from "./texts.js";

const form = byId("new");
const chosen = byId("species");
const generator = byId("generator");

// What was filled in stays with this entry of the browser's history: it is there again when one comes back, or reloads the page.
export const keepState = (more) => history.replaceState({ ...history.state, ...more }, "");
const kept = () => [...form.elements].filter((field) => field.id && !["file", "submit", "button"].includes(field.type) && !isOffered(field));
const isOffered = (field) => field.id === "name" && field.value === field.defaultValue; // the server offers a name that is free
for (const field of form.elements) {
  const before = history.state?.fields?.[field.id];
  if (before === undefined) continue;
  if (["radio", "checkbox"].includes(field.type)) field.checked = before;
  else if (field.tagName !== "SELECT" || [...field.options].some((option) => option.value === before)) field.value = before;
  for (const output of document.querySelectorAll(`output[for="${field.id}"]`)) output.value = field.value;
}
const keepFields = () => keepState({ fields: Object.fromEntries(kept().map((field) => [field.id, ["radio", "checkbox"].includes(field.type) ? field.checked : field.value])) });
form.addEventListener("change", keepFields);

// The request: fields by their names; what is empty is left out.
export function values() {
  const request = { kind: form.dataset.kind };
  for (const field of form.elements) {
    if (!field.name || field.disabled || (["radio", "checkbox"].includes(field.type) && !field.checked)) continue;
    if (field.dataset.read === "list") (request[field.name] ??= []).push(field.type === "range" ? Number(field.value) : field.value);
    else if (field.dataset.read === "flag") request[field.name] = true;
    else if (field.value !== "") request[field.name] = ["number", "range"].includes(field.type) ? Number(field.value) : field.value.trim();
  }
  if (chosen?.childElementCount) request.species = [...chosen.children].map((chip) => chip.dataset.value);
  return request;
}

function chip(name) {
  const remove = make("button", { type: "button", textContent: "×", ariaLabel: t("Remove {name}", { name }) });
  const item = make("li", {}, make("i", { textContent: name }), remove);
  item.dataset.value = name;
  remove.addEventListener("click", () => item.remove());
  return item;
}

const search = async (query) => (generator.value ? call("GET", `/api/generators/${generator.value}/species?${new URLSearchParams({ query, limit: 50 })}`) : []);

function add(name) {
  if (![...chosen.children].some((item) => item.dataset.value === name)) chosen.append(chip(name));
  byId("find-species").value = "";
  tell("");
}

function pickSpecies() {
  const field = byId("find-species");
  const offer = async () => {
    const found = await search(field.value);
    byId("species-found").replaceChildren(...found.map((name) => make("option", { value: name })));
    return found;
  };
  field.addEventListener("input", (event) => {
    const whole = [...byId("species-found").options].some((option) => option.value === field.value);
    if (whole && event.inputType !== "insertText") add(field.value); // taken from the list
    else offer().catch((error) => tell(error.message));
  });
  const take = async () => {
    if (!field.value.trim()) return;
    const [first] = await offer();
    if (first) add(first);
    else tell(t("The generator has no species like “{name}”. Search again, or choose another generator.", { name: field.value }));
  };
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    take().catch((error) => tell(error.message));
  });
  byId("add-species").addEventListener("click", () => take().catch((error) => tell(error.message)));
  generator.addEventListener("change", () => chosen.replaceChildren());
  chosen.replaceChildren(...[...chosen.children].map((item) => chip(item.dataset.value)));
  offer().catch((error) => tell(error.message));
}

// What is typed and was not added is added when the form is sent, if it can mean one species alone.
async function addTyped() {
  const typed = byId("find-species").value.trim();
  if (!typed) return;
  const found = await search(typed);
  const same = found.filter((name) => name.toLowerCase() === typed.toLowerCase());
  const [only, ...others] = same.length ? same : found;
  if (!only) throw new Error(t("The generator has no species like “{name}”. Correct it, or empty the field.", { name: typed }));
  if (others.length) throw new Error(found.length > 4 ? t("“{name}” may be {names} or another. Choose one of them, or empty the field.", { name: typed, names: found.slice(0, 4).join(", ") }) : t("“{name}” may be {names}. Choose one of them, or empty the field.", { name: typed, names: found.join(", ") }));
  add(only);
}

// Changes to the request that need the server, before the job is asked for; set by pages that have some. What one returns is called if no job comes of it.
const prepare = [];
export const before = (change) => prepare.push(change);

onSubmit(form, async () => {
  if (chosen) await addTyped();
  const least = Number(chosen?.parentElement.dataset.least ?? 0);
  if (chosen && chosen.childElementCount < least) throw new Error(tn("Choose a species first.", "Choose at least {n} species first.", least));
  const request = values();
  const undo = [];
  try {
    for (const change of prepare) undo.push(await change(request));
    location.assign(`/jobs/${(await call("POST", "/api/jobs", request)).id}`);
  } catch (error) {
    for (const back of undo) await back?.();
    throw error;
  }
});
for (const output of document.querySelectorAll("output[for]")) {
  const slider = byId(output.htmlFor.value);
  slider.addEventListener("input", () => (output.value = slider.value));
}
if (chosen) pickSpecies();

// Fields that only one layout has are neither shown nor sent with another.
const layout = byId("layout");
function fit() {
  for (const part of document.querySelectorAll("[data-only]")) {
    part.hidden = part.dataset.only !== layout.value;
    for (const field of part.querySelectorAll("input, select")) field.disabled = part.hidden;
  }
}
if (document.querySelector("[data-only]")) {
  layout.addEventListener("change", fit);
  fit();
}
