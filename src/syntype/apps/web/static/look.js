// What an import would do: shown before anything is taken in. Then the import, or nothing.
import { showBoxes } from "./boxes.js";
import { clearCorrections, corrections, followCorrections, listSpecies } from "./corrections.js";
import { byId, call, make, oneAtATime, onSubmit, tell } from "./studio.js";
import { number, t, tn } from "./texts.js";

const upload = byId("preview").dataset.upload;
const address = `/api/uploads/${upload}`;
const typed = byId("typed"); // the species that was written, where the photographs lie in folders
const said = () => typed?.querySelector("input:checked")?.value;
const options = () => ({
  ...Object.fromEntries([...document.querySelectorAll("[data-option]")].map((field) => [field.id, field.value.trim()]).filter(([, value]) => value)),
  ...(said() === "typed" && { species: typed.dataset.species }),
});
const share = (counts) => Object.entries(counts).slice(0, 8).map(([name, value]) => `${name} ${number(value)}`).join(", ") + (Object.keys(counts).length > 8 ? ", …" : "");
const picture = (row, alt) => make("img", { loading: "lazy", alt, src: `${address}/thumbnail?${new URLSearchParams({ path: row.path })}` });
let images = 0;
let looks = 0;
let listed = null; // the options under which the species were listed

function facts(found) {
  const known = [
    [t("Observations"), found.num_groups < found.num_images ? number(found.num_groups) : t("each photograph is one")],
    [t("Splits"), Object.keys(found.splits).length ? t("the author's: {splits}", { splits: share(found.splits) }) : t("drawn on import")],
    [t("Licences"), Object.keys(found.licences).some((name) => name !== "none") ? share(found.licences) : t("none given")],
    [t("Origin"), "synthetic" in found.origins ? share(found.origins) : ""],
    [t("With a box"), found.num_boxes ? number(found.num_boxes) : ""],
    [t("Further columns kept"), found.columns.slice(0, 20).join(", ") + (found.columns.length > 20 ? ", …" : "")],
  ].filter(([, value]) => value);
  byId("facts").replaceChildren(...known.flatMap(([word, value]) => [make("dt", { textContent: word }), make("dd", { textContent: value })]));
}

function rows(found) {
  const titles = { row: t("Row"), file: t("File"), species: t("Species"), group: t("Group"), split: t("Split"), licence: t("Licence") };
  const columns = Object.keys(titles).filter((key) => found.rows.some((row) => row[key] !== null));
  byId("columns").replaceChildren(make("tr", {}, ...columns.map((key) => make("th", { scope: "col", textContent: titles[key] }))));
  byId("rows").replaceChildren(...found.rows.map((row) => make("tr", {}, ...columns.map((key) => make("td", { textContent: row[key] ?? "" })))));
}

function refusals(found) {
  const received = new Set(found.received.map((item) => item.file));
  const missing = found.missing.filter((row) => !received.has(row.file)).map((row) => ({ file: row.file, row: row.row, reason: t("has no file"), hint: t("Send the photograph too.") }));
  const items = [...found.received, ...found.refused_items, ...missing];
  const counts = Object.entries(found.refused).map(([reason, value]) => `${number(value)} ${reason}`);
  if (found.received.length) counts.unshift(tn("{n} file refused when sent, see below", "{n} files refused when sent, see below", found.received.length));
  if (found.num_missing) counts.push(tn("{n} row whose photograph was not sent, or was refused", "{n} rows whose photograph was not sent, or was refused", found.num_missing));
  byId("reasons").replaceChildren(...counts.slice(0, 20).map((textContent) => make("li", { textContent })));
  byId("refused").replaceChildren(
    ...items.map((item) => make("tr", {}, ...[item.file, item.row ?? "", item.reason, item.hint].map((textContent) => make("td", { textContent })))),
  );
  byId("refusals").hidden = !items.length;
}

// Ask which is right, unless the folders say the same as was written.
function ask(names) {
  if (!typed || said() === "typed") return;
  typed.hidden = names.length === 1 && names[0] === typed.dataset.species;
  const shown = names.slice(0, 4).join(", ") + (names.length > 4 ? ", …" : "");
  byId("by-folders").textContent = names.length ? tn("As the folders say: {n} species ({names})", "As the folders say: {n} species ({names})", names.length, { names: shown }) : t("As the folders say");
}

const query = (given) => new URLSearchParams(Object.entries(given).flatMap(([name, value]) => [value].flat().map((one) => [name, one])));

// The species are listed as the source has them; what is corrected there changes what is told of the import, and the list stays.
async function look() {
  const mine = ++looks;
  const read = options();
  const anew = JSON.stringify(read) !== listed;
  byId("take").disabled = true;
  byId("preview").hidden = anew;
  byId("looking").textContent = anew ? t("Reading what was sent…") : t("Looking at it with your corrections…");
  try {
    let found = anew && (await call("GET", `${address}/preview?${query(read)}`));
    if (mine !== looks) return; // asked again since
    if (anew) {
      listSpecies(found, address);
      await showBoxes(address, read, look);
      listed = JSON.stringify(read);
    }
    const given = query(corrections());
    if (!found || given.size) found = await call("GET", `${address}/preview?${query(read)}&${given}`);
    if (mine !== looks) return;
    images = found.num_images - found.num_missing;
    ask(Object.keys(found.species).filter((name) => name !== "none"));
    byId("sentence").textContent = found.sentence;
    facts(found);
    rows(found);
    refusals(found);
    byId("notes").replaceChildren(...found.notes.map((textContent) => make("li", { textContent })));
    byId("told-notes").hidden = !found.notes.length;
    byId("looking").textContent = images ? t("This is what will be imported. Nothing has been taken in yet.") : t("None of it can be imported as it is.");
    byId("preview").hidden = false;
    byId("take").disabled = !images || !answered();
    tell("");
  } catch (error) {
    if (mine !== looks) return;
    if (listed === JSON.stringify(read)) byId("looking").textContent = t("It cannot be imported with these corrections.");
    else {
      ask([]);
      byId("looking").textContent = t("What was sent cannot be imported as it is.");
      byId("otherwise").open = true;
    }
    tell(error.message);
  }
}

const answered = () => !typed || typed.hidden || Boolean(said());
if (typed) typed.hidden = false; // until the first look tells that there is nothing to ask
typed?.addEventListener("change", look);
const alone = oneAtATime();
byId("again").addEventListener("click", look);
byId("discard").addEventListener("click", () =>
  alone(async () => {
    const { id } = await call("DELETE", `/api/storage/uploads/${upload}`);
    location.assign(`/?${new URLSearchParams({ deleted: id })}`);
  }),
);
// The name is kept for whoever opens this again.
const keepName = () => byId("name").value.trim() && call("PUT", `/api/uploads/${upload}/title`, { title: byId("name").value }).catch((error) => tell(error.message));
byId("name").addEventListener("change", keepName);
keepName();
followCorrections(upload, look);
onSubmit(byId("importing"), async () => {
  if (!answered()) throw new Error(t("Say first what the photographs show: choose above."));
  const job = await call("POST", "/api/jobs", { kind: "import", name: byId("name").value, upload, into: byId("importing").dataset.into ?? null, ...options(), ...corrections() });
  clearCorrections();
  location.assign(`/jobs/${job.id}`);
});
document.addEventListener("DOMContentLoaded", look); // not before: the buttons of forms are enabled then, and this one waits for the look
