// Photographs of an upload that come with boxes: the crop of each animal, and a dialog in which the boxes are corrected.
import { askBoxes, crop } from "./box-dialog.js";
import { byId, call, make, tell } from "./studio.js";
import { t, tn } from "./texts.js";

const PAGE = 24;
const CROPS = 4; // of one photograph
let address = null;
let read = {};
let changed = null;
let offset = 0;
let total = 0;

const query = (given) => new URLSearchParams(Object.entries(given).flatMap(([name, value]) => [value].flat().map((one) => [name, one])));

function tile(photograph) {
  const { path, animals } = photograph;
  const button = make("button", { type: "button", className: "second", textContent: t("Correct") });
  button.setAttribute("aria-label", t("Correct the boxes of {file}", { file: path }));
  const names = [...new Set(animals.map((animal) => animal.species))].join(", ");
  const crops = make("div", { className: "crops" }, ...animals.slice(0, CROPS).map((animal) => crop(address, photograph, animal)));
  const told = make("p", {}, animals.length > CROPS ? tn("{names} and {n} more", "{names} and {n} more", animals.length - CROPS, { names }) : names, make("br"), photograph.corrected ? make("strong", { textContent: t("corrected") }) : tn("{n} animal", "{n} animals", animals.length));
  const item = make("li", {}, crops, told, button);
  button.addEventListener("click", () => ask(photograph).catch((error) => tell(error.message)));
  return item;
}

function counted({ photographs, num_corrected: corrected }) {
  const values = { first: offset + 1, last: offset + photographs.length, corrected };
  if (!corrected) return tn("{first} to {last} of {n} photograph", "{first} to {last} of {n} photographs", total, values);
  return tn("{first} to {last} of {n} photograph, {corrected} corrected", "{first} to {last} of {n} photographs, {corrected} corrected", total, values);
}

async function list() {
  const found = await call("GET", `${address}/boxes?${query({ ...read, offset, limit: PAGE })}`);
  total = found.total;
  byId("boxes-part").hidden = !total;
  byId("boxed").replaceChildren(...found.photographs.map(tile));
  byId("boxes-counted").textContent = counted(found);
  [byId("boxes-earlier").disabled, byId("boxes-later").disabled] = [!offset, offset + PAGE >= total];
  byId("boxes-back").hidden = !found.num_corrected;
}

const save = (path, animals) => call("PUT", `${address}/boxes`, { path, animals, read });

async function ask(photograph) {
  const kept = await askBoxes(address, photograph, (animals) => save(photograph.path, animals));
  if (!kept) return;
  const undo = make("button", { type: "button", className: "second", textContent: t("Undo") });
  undo.addEventListener("click", async () => {
    try {
      await save(photograph.path, photograph.corrected ? photograph.animals : null);
      byId("boxes-said").replaceChildren(t("Undone."));
      await update();
    } catch (error) {
      tell(error.message);
    }
  });
  byId("boxes-said").replaceChildren(`${t("The boxes of {file} are kept.", { file: photograph.path })} `, undo);
  await update();
}

async function update() {
  await list();
  changed();
}

async function turn(pages) {
  offset = Math.max(0, offset + pages * PAGE);
  await list().catch((error) => tell(error.message));
}

byId("boxes-earlier").addEventListener("click", () => turn(-1));
byId("boxes-later").addEventListener("click", () => turn(1));
byId("boxes-back").addEventListener("click", async () => {
  try {
    await call("DELETE", `${address}/boxes?${query(read)}`);
    byId("boxes-said").textContent = t("All boxes are as they were sent.");
    await update();
  } catch (error) {
    tell(error.message);
  }
});

// Show the photographs of an upload that is read in a certain way; call `then` after each correction.
export async function showBoxes(where, given, then) {
  [address, read, changed, offset] = [where, given, then, 0];
  await list();
}
