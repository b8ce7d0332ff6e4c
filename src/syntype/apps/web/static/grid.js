// The images of a collection: search, size of the pictures, one image large, and several chosen to be judged together.
import { lightbox } from "./lightbox.js";
import { askMove } from "./moves.js";
import { askNames, undoChange } from "./names.js";
import { patch } from "./patch.js";
import { byId, call, make, oneAtATime, reviewerName, tell } from "./studio.js";
import { t, tn } from "./texts.js";

const tiles = byId("tiles");
const collection = tiles.dataset.collection;
const base = `/api/collections/${collection}`;
const entries = () => [...tiles.children];
const linkOf = (entry) => entry.querySelector("a");
const boxOf = (entry) => entry?.querySelector("input");
const entryOf = (node) => entries().find((entry) => entry.contains(node)) ?? null;

// A filter takes effect when it is chosen; without this script the button does the same. What is empty is not in the address.
const filters = byId("filters");
filters.addEventListener("change", (event) => event.target.type !== "search" && filters.requestSubmit());
filters.addEventListener("formdata", ({ formData }) => {
  for (const [name, value] of [...formData]) if (!value.trim()) formData.delete(name);
});
for (const field of filters.querySelectorAll("[data-search]")) {
  field.addEventListener("input", async () => {
    const found = await call("GET", `${base}/species?${new URLSearchParams({ query: field.value })}`).catch(() => []);
    field.list.replaceChildren(...found.map((item) => make("option", { value: item.species })));
  });
}

const sizes = byId("tile-sizes");
sizes.hidden = false;
sizes.addEventListener("change", ({ target }) => {
  document.cookie = `tiles=${target.value}; path=/; max-age=31536000; samesite=strict`;
  tiles.dataset.tiles = target.value;
  if (target.value === "large") for (const image of tiles.querySelectorAll("img")) image.src = image.src.replace("side=160", "side=320");
});

// What this page shows, as the server has it now.
async function refresh() {
  const answer = await fetch(place, { headers: { Accept: "text/html" } });
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  patch(tiles, [...fresh.getElementById("tiles").children].map((entry) => document.adoptNode(entry)));
  for (const id of ["counted", "pages"]) byId(id).replaceChildren(...[...fresh.getElementById(id).childNodes].map((node) => document.adoptNode(node)));
  dress();
}
const place = location.href; // stays, while an image is shown under its own address

// One stop for the Tab key; the arrows go on from there.
let current = null;
function stopAt(entry, focus = false) {
  if (!entry) return;
  for (const other of entries()) linkOf(other).tabIndex = other === entry ? 0 : -1;
  current = entry;
  if (focus) linkOf(entry).focus();
}

const picked = new Set(); // image_id of chosen images, of other pages too
let anchor = null; // from where Shift extends the choice
const bar = byId("choice");
const naming = bar?.dataset.names; // photographs alone: their names are corrected

function dress() {
  for (const entry of entries()) {
    if (bar && entry.dataset.species && !boxOf(entry)) {
      const box = make("input", { type: "checkbox", tabIndex: -1, ariaLabel: t("Choose image {name}", { name: entry.dataset.key }) });
      entry.prepend(box);
    }
  }
  stopAt(tiles.contains(current) ? current : entries()[0]);
  if (!tiles.contains(anchor)) anchor = null;
  mark();
}

function mark() {
  if (!bar) return;
  for (const entry of entries()) if (boxOf(entry)) boxOf(entry).checked = picked.has(entry.dataset.key);
  const here = entries().filter((entry) => picked.has(entry.dataset.key)).length;
  if (!picked.size) byId("chosen").textContent = t("None chosen");
  else if (picked.size > here) byId("chosen").textContent = tn("{n} chosen, {here} of them on this page", "{n} chosen, {here} of them on this page", picked.size, { here });
  else byId("chosen").textContent = tn("{n} chosen", "{n} chosen", picked.size);
  for (const button of bar.querySelectorAll("[data-decision], #choose-none, #name-them, #move-them")) button.disabled = !picked.size;
  if (!naming) byId("choose-species").disabled = !current?.dataset.species;
}

function pick(entry, on, from = null) {
  const all = entries();
  const [first, last] = [all.indexOf(from ?? entry), all.indexOf(entry)].sort((one, other) => one - other);
  for (const one of all.slice(first, last + 1)) if (boxOf(one)) picked[on ? "add" : "delete"](one.dataset.key);
  if (!from) anchor = entry;
  mark();
}

const DECISIONS = { accept: t("accept"), reject: t("reject"), unsure: t("unsure") };
const choosing = oneAtATime();
const pickMatching = (species) =>
  choosing(async () => {
    const query = new URLSearchParams(new URL(place).search);
    query.delete("offset");
    if (species) query.set("species", species);
    const found = await call("GET", `${base}/to-judge?${query}`);
    for (const id of found.image_ids) picked.add(id);
    mark();
  });
const pickPage = () => {
  for (const entry of entries()) if (boxOf(entry)) picked.add(entry.dataset.key);
  mark();
};
const pickSpecies = () => current?.dataset.species && pickMatching(current.dataset.species);
const pickNone = () => (picked.clear(), mark());

const reviewer = bar && !naming && reviewerName();
const judging = oneAtATime();
let unsure = null; // a decision that the server may not have received: sent again, it counts once

function named() {
  if (bar.reportValidity()) return bar.requestSubmit(); // keeps the name for the next page
  throw new Error(t("Write your name first, below the images: it is kept with your verdicts."));
}

async function judge(decision, ids, say = (words) => (byId("done").textContent = words)) {
  await judging(async () => {
    if (!ids.length) return;
    named();
    const same = [decision, ...ids].join("\n");
    if (unsure?.same !== same) unsure = { same, key: crypto.getRandomValues(new Uint32Array(4)).join("-") };
    const told = await call("POST", `${base}/verdicts/together`, { image_ids: ids, reviewer: reviewer(), decision, key: unsure.key });
    unsure = null;
    picked.clear();
    await refresh();
    const differ = told.num_differ ? ` ${tn("The verdict of {n} image stays: refused as a copy, or other reviewers decided otherwise.", "The verdict of {n} images stays: refused as a copy, or other reviewers decided otherwise.", told.num_differ)}` : "";
    const saved = decision === "accept" ? tn("{n} image accepted.", "{n} images accepted.", told.num_saved) : tn("{n} image rejected.", "{n} images rejected.", told.num_saved);
    say(`${saved}${differ} ${t("Take it back with z.")}`);
  });
}

// Correct the name of what is chosen, or of the photograph in focus.
const nameThem = () =>
  judging(async () => {
    const told = await askNames(collection, picked.size ? [...picked] : [current.dataset.key]);
    if (!told) return;
    picked.clear();
    await refresh();
    byId("done").textContent = `${told.told} ${t("Take it back with z.")}`;
  });

// Move what is chosen, or the photograph in focus, to another collection.
const moveThem = () =>
  judging(async () => {
    const told = await askMove(collection, picked.size ? [...picked] : [current.dataset.key]);
    if (!told) return;
    if (told.trash) return location.assign(`/collections/${told.to}`); // the last ones have left
    picked.clear();
    await refresh();
    byId("done").textContent = `${tn("{n} photograph moved.", "{n} photographs moved.", told.num_images)} ${t("Take it back with z.")}`;
  });

async function undo(say = (words) => (byId("done").textContent = words)) {
  await judging(async () => {
    if (naming) {
      const told = await undoChange(collection);
      await refresh();
      say(`${t("Taken back.")} ${told.told}`);
      return;
    }
    named();
    const told = await call("POST", `${base}/verdicts/undo`, { reviewer: reviewer() });
    await refresh();
    say(told.verdict ? tn("Taken back: {verdict} of {n} image.", "Taken back: {verdict} of {n} images.", told.num_undone, { verdict: DECISIONS[told.verdict.decision] }) : t("There is nothing to take back."));
  });
}

const open = lightbox({
  find: (id) => entries().find((entry) => entry.dataset.key === id),
  focus: (entry) => stopAt(entry ?? (tiles.contains(current) ? current : entries()[0]), true),
  judge: bar && !naming && judge,
  undo: bar && !naming && undo,
});

tiles.addEventListener("focusin", ({ target }) => (stopAt(entryOf(target)), mark()));
tiles.addEventListener("click", (event) => {
  const entry = entryOf(event.target);
  if (!entry) return;
  if (event.target === boxOf(entry)) {
    pick(entry, event.target.checked, event.shiftKey ? anchor : null);
    stopAt(entry, true); // so that letters judge, and arrows go on from here
  } else if (event.target.closest("a") && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    if (event.shiftKey && boxOf(entry)) pick(entry, true, anchor ?? current);
    else open(linkOf(entry).href);
  }
});

const STEPS = { ArrowLeft: () => -1, ArrowRight: () => 1, ArrowUp: (row) => -row, ArrowDown: (row) => row };
function step(key, extend) {
  const all = entries();
  const row = all.filter((entry) => entry.offsetTop === all[0].offsetTop).length;
  const target = key === "Home" ? all[0] : key === "End" ? all.at(-1) : all[all.indexOf(current) + STEPS[key](row)];
  if (!target) return;
  if (extend) pick(target, true, (anchor ??= current));
  stopAt(target, true);
}

document.addEventListener("keydown", (event) => {
  const { key } = event;
  const inside = tiles.contains(event.target);
  if (document.querySelector("dialog[open]") || (!inside && /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName))) return;
  const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
  if (inside && plain && (key in STEPS || key === "Home" || key === "End")) step(key, event.shiftKey);
  else if (!bar) return;
  else if (inside && plain && key === " " && event.target.tagName === "A") pick(current, !picked.has(current.dataset.key), event.shiftKey ? anchor : null);
  else if (inside && key === "a" && (event.ctrlKey || event.metaKey)) pickPage();
  else if (naming && plain && inside && key === "n") nameThem();
  else if (naming && plain && inside && key === "m") moveThem();
  else if (!naming && plain && !event.repeat && key === "a") judge("accept", [...picked]);
  else if (!naming && plain && !event.repeat && key === "r") judge("reject", [...picked]);
  else if (plain && !event.repeat && key === "z") undo();
  else if (!naming && plain && inside && key === "s") pickSpecies();
  else if (plain && key === "Escape" && picked.size) pickNone();
  else return;
  event.preventDefault();
});

if (bar) {
  bar.hidden = false;
  bar.addEventListener("submit", (event) => event.preventDefault());
  byId("choose-page").addEventListener("click", pickPage);
  byId("choose-species")?.addEventListener("click", pickSpecies);
  byId("choose-all")?.addEventListener("click", () => pickMatching(null));
  byId("name-them")?.addEventListener("click", nameThem);
  byId("move-them")?.addEventListener("click", moveThem);
  byId("choose-none").addEventListener("click", pickNone);
  byId("undo").addEventListener("click", () => undo());
  for (const button of bar.querySelectorAll("[data-decision]")) button.addEventListener("click", () => judge(button.dataset.decision, [...picked]));
}
dress();
tell("");
