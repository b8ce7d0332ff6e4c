// One key a decision. The next images are fetched and decoded in advance, and one is shown while the decision before it is being saved.
// The next decision waits for that; if it could not be saved, its image comes back.
import { besides, fetchBeside } from "./beside.js";
import { onKeys, onPress } from "./keys.js";
import { refreshLists } from "./patch.js";
import { speciesName, withNames } from "./species.js";
import { byId, call, make, oneAtATime, onSubmit, reviewerName, tell, thumbnail } from "./studio.js";
import { zoomTogether } from "./zoom.js";
import { t, tparts } from "./texts.js";

const who = byId("who");
const reviewer = reviewerName();
const collection = who.dataset.collection;
const base = `/api/collections/${collection}`;
const AHEAD = 5;
const KEPT = 10; // earlier images whose pictures stay decoded
const WORDS = { accept: t("accepted"), reject: t("rejected"), unsure: t("unsure") };
const said = (decision, reason) => (reason ? t("{verdict}, {reason}", { verdict: WORDS[decision], reason: wordsOf(reason) }) : WORDS[decision]);
const wordsOf = (reason) => [...document.querySelectorAll("[data-reason]")].find((button) => button.dataset.reason === reason)?.lastChild.textContent.trim() ?? reason;
const waiting = []; // new images to come, each with its picture already decoding
const past = []; // images that were judged, oldest first, for the keys back and forward
let at = null; // place in "past" of the image shown; null: the new one is shown
let fresh = null; // the new image; it waits while an earlier one is shown
let shown = null;
let oldest = null; // number of the oldest decision fetched for "past"
let after = null;
let begun = false;
let ended = false;
let fetching = null;
let judged = 0; // saved since Begin, without undone ones
let left = 0;
let saved = Promise.resolve(null); // of the last decision: null, or the error for which it was not saved

const photographs = besides(byId("right"), byId("beside"), byId("nearest"));
const zoom = zoomTogether(byId("panes"), (scale) => {
  byId("zoom").setAttribute("aria-pressed", String(scale > 1));
  byId("scale").textContent = scale > 1 ? `${scale.toFixed(1)} ×` : "";
});

function ready(item) {
  if (item.picture) return item;
  const unnamed = t("without a species");
  const alt = t("Synthetic image, labelled {species}", { species: item.image.species ?? unnamed });
  const picture = Object.assign(new Image(), { id: "image", src: thumbnail(collection, item.image, 1024), alt });
  const decoded = picture.decode().then(() => true, () => false);
  return Object.assign(item, { picture, decoded, beside: fetchBeside(item.nearest) });
}

// What was asked for: the filters of the form, as the interface has them.
function asked() {
  const query = new URLSearchParams();
  for (const name of ["which", "species", "real"]) if (byId(name)?.value) query.set(name, byId(name).value);
  if (byId("judges").value === "second") query.set("second", "true");
  else if (byId("judges").value) query.set("judges", byId("judges").value);
  if (byId("refused")?.checked) query.set("refused", byId("refused-by").value);
  return query;
}

async function fetchAhead() {
  if (ended || waiting.length >= AHEAD) return;
  const query = asked();
  for (const [name, value] of Object.entries({ reviewer: reviewer(), after, count: AHEAD - waiting.length })) if (value !== null) query.set(name, value);
  const page = await call("GET", `${base}/next?${query}`);
  if (page.num_left !== null) left = page.num_left; // counted from here on
  ended = page.items.length === 0;
  for (const item of page.items) {
    after = item.image.position;
    waiting.push(ready(item));
  }
}

// At most one fetch at a time.
function fill() {
  fetching ??= fetchAhead().finally(() => (fetching = null));
  return fetching;
}

const UNSEEN = t("The picture of this image cannot be shown, so it can be neither accepted nor rejected. Press u to leave it, or reload the page.");

function end() {
  const shared = byId("judges").value && byId("judges").value !== "second";
  byId("status").textContent = shared
    ? t("All images are judged, or before other reviewers at the moment. Undo with z.")
    : asked().size > 1 || byId("which").value !== "undecided"
      ? t("All images are judged that fit your choice. Undo with z.")
      : t("All images are judged. Undo with z.");
  byId("setup").open = true;
  refreshLists().catch(() => {}); // the table of the reviewers is of no use to the one who goes on
}

function count() {
  byId("counted").textContent = t("{judged} judged, {left} left", { judged, left });
}

function show(item, seen = true) {
  shown = item;
  if (item) item.seen = seen;
  count();
  if (byId("judging").hidden === Boolean(item)) {
    byId("judging").hidden = !item;
    document.body.classList.toggle("judges", Boolean(item));
  }
  if (!item) return end();
  zoom.reset();
  byId("image").replaceWith(item.picture); // decoded already; the old one given its address might be decoded again
  byId("caption").replaceChildren(...tparts("{species}, image {name}", { species: speciesName(item.image.species, item.common_name), name: item.image.image_id }));
  const { outcome, sentence, values, looks_like: other } = item.check;
  byId("check").dataset.outcome = outcome;
  byId("check").replaceChildren(...[sentence, values.join("; ")].filter(Boolean).map((text) => make("p", {}, ...withNames(text, [item.image.species, other]))));
  byId("own").textContent = item.own ? t("You said: {answer}", { answer: said(item.own.decision, item.own.reason) }) : "";
  photographs.show(item.nearest, item.beside);
}

async function turnTo(item) {
  const seen = item ? await ready(item).decoded : true;
  show(item, seen);
  if (!seen) throw new Error(UNSEEN);
}

async function next() {
  if (!waiting.length) await fill();
  [at, fresh] = [null, waiting.shift() ?? null];
  requestAnimationFrame(() => setTimeout(() => fill().catch((error) => tell(error.message)))); // as soon as this one is painted
  await turnTo(fresh);
}

// Keep an image for the keys back and forward; of those long ago only what is known.
function remember(item) {
  const before = past.findIndex((one) => one.image.image_id === item.image.image_id);
  if (before >= 0) past.splice(before, 1);
  past.push(item);
  const far = past.at(-KEPT - 1);
  if (far) [far.picture, far.beside, far.decoded] = [];
}

async function back() {
  if (at === null && shown !== fresh) return; // nothing is shown yet
  let to = (at ?? past.length) - 1;
  while (to < 0) {
    const query = new URLSearchParams({ reviewer: reviewer(), count: 20 });
    if (oldest !== null) query.set("before", oldest);
    if (byId("real").value) query.set("real", byId("real").value);
    const page = await call("GET", `${base}/verdicts/own?${query}`);
    if (!page.length) {
      byId("status").textContent = t("There is no earlier verdict.");
      return;
    }
    oldest = page.at(-1).own.id;
    const known = new Set([...past, ...(fresh ? [fresh] : [])].map((item) => item.image.image_id));
    const more = page.filter((item) => !known.has(item.image.image_id)).reverse();
    past.unshift(...more);
    if (at !== null) at += more.length;
    to += more.length;
  }
  at = to;
  byId("status").textContent = t("An earlier image. Decide again to change your verdict, or go forward.");
  await turnTo(past[at]);
}

async function forward() {
  if (at === null) {
    byId("status").textContent = t("This is the newest image.");
    return;
  }
  at = at + 1 < past.length ? at + 1 : null;
  if (at === null) byId("status").textContent = "";
  await turnTo(at === null ? fresh : past[at]);
}

const once = oneAtATime(); // keys pressed while an image is being exchanged are not taken for the next one

const act = (action) =>
  once(async () => {
    const error = await saved;
    if (error) throw error; // its image is shown again, for which this key was not meant
    await action();
  });

// Sends a decision; the page may be left meanwhile. Returns the error if it was not saved.
async function send(item, decision, reason) {
  item.key ??= crypto.getRandomValues(new Uint32Array(4)).join("-"); // sent again after a lost answer, it counts once
  const verdict = { image_id: item.image.image_id, reviewer: reviewer(), decision, reason, key: `${item.key}-${decision}` };
  try {
    item.own = await call("POST", `${base}/verdicts`, verdict, { keepalive: true });
  } catch (error) {
    return error;
  }
  item.key = null;
  return null;
}

// After a decision was not saved: its image again, and why.
async function bringBack(item, isNew, error) {
  if (isNew) {
    past.splice(past.indexOf(item), 1);
    if (fresh) waiting.unshift(fresh);
    [at, fresh] = [null, item];
  } else at = past.indexOf(item);
  byId("status").textContent = "";
  await turnTo(item).catch(() => {}); // that it cannot be shown is told when it is judged
  await new Promise((then) => setTimeout(then)); // behind the action that sent it, which ends without an error
  tell(error.message);
  saved = Promise.resolve(null);
  return error;
}

const decide = (decision, reason = null) =>
  act(async () => {
    if (!shown) return;
    if (!shown.seen && decision !== "unsure") throw new Error(UNSEEN);
    const [item, isNew] = [shown, at === null];
    const sent = send(item, decision, reason);
    const isLast = isNew ? !waiting.length : at + 1 === past.length && !fresh;
    if (isLast) {
      const error = await sent; // what comes next is asked for, and lists are read again
      if (error) throw error;
    }
    if (isNew) remember(item);
    const exchanged = isNew ? next() : forward();
    saved = Promise.allSettled([sent, exchanged]).then(([{ value: error }]) => {
      if (error) return bringBack(item, isNew, error);
      if (isNew) [judged, left] = [judged + 1, left - 1];
      count();
      if (shown) byId("status").textContent = `${item.image.image_id}: ${said(decision, reason)}`;
      return null;
    });
    await exchanged;
    if (isLast) await saved;
  });

const undo = () =>
  act(async () => {
    const { verdict, item, num_undone: num } = await call("POST", `${base}/verdicts/undo`, { reviewer: reviewer(), real: byId("real").value || null });
    if (!item) {
      byId("status").textContent = verdict ? t("Undone: {verdict}. The image is not in the collection any more.", { verdict: WORDS[verdict.decision] }) : t("There is nothing to undo.");
      return;
    }
    const many = num > 1; // judged together, on the collection's page
    if (many) [past.length, oldest] = [0, item.own?.id ?? null]; // fetched again, as what was said of the others has changed
    const before = past.findIndex((one) => one.image.image_id === item.image.image_id);
    if (item.own) {
      // a changed verdict: the one before it holds again
      if (before < 0) past.push(item);
      else past[before] = item;
      at = before < 0 ? past.length - 1 : before;
      await turnTo(item);
    } else {
      if (before >= 0) past.splice(before, 1);
      judged = Math.max(0, judged - (many ? 0 : 1));
      left += num;
      if (fresh) waiting.unshift(fresh);
      [at, fresh] = [null, item];
      await turnTo(item);
    }
    const undone = { verdict: WORDS[verdict.decision], number: num };
    byId("status").textContent = many ? t("Undone: {verdict} of {number} images that were judged together. Press Begin to judge the others", undone) : t("Undone: {verdict}", undone);
  });

onSubmit(who, async () => {
  begun = true;
  waiting.length = past.length = 0;
  [shown, fresh, at, oldest, after, ended, judged] = [null, null, null, null, null, false, 0];
  history.replaceState(null, "", `?${asked()}`); // the address can be given to others, who then judge in the same way
  byId("setup").open = false;
  byId("status").textContent = "";
  await act(next);
  document.activeElement?.blur();
  byId("judging").scrollIntoView({ block: "start" });
});

// The choice that the address makes.
for (const [name, value] of new URLSearchParams(location.search)) {
  if (name === "refused") [byId("refused"), byId("refused-by")].forEach((field, number) => field && (number ? (field.value = value) : (field.checked = true)));
  else if (name === "second") byId("judges").value = "second";
  else if (["which", "species", "real", "judges"].includes(name) && [...(byId(name)?.options ?? [])].some((option) => option.value === value)) byId(name).value = value;
}

const reasons = [...document.querySelectorAll("[data-reason]")];
for (const button of reasons) onPress(button, () => decide("reject", button.dataset.reason));
for (const button of document.querySelectorAll("[data-decision]")) onPress(button, () => decide(button.dataset.decision));
const actions = { undo, back: () => act(back), forward: () => act(forward), zoom: zoom.toggle, "zoom-in": zoom.zoomIn, "zoom-out": zoom.zoomOut, other: photographs.next };
for (const [name, action] of Object.entries(actions)) onPress(byId(name), action);
const step = 0.15;
const keys = {
  a: () => decide("accept"), r: () => decide("reject"), u: () => decide("unsure"), z: undo,
  ...Object.fromEntries(reasons.map((button, number) => [number + 1, () => decide("reject", button.dataset.reason)])),
  ArrowLeft: actions.back, ArrowRight: actions.forward, b: actions.back, f: actions.forward, c: photographs.next,
  Enter: zoom.toggle, "+": zoom.zoomIn, "=": zoom.zoomIn, "-": zoom.zoomOut,
  "Shift+ArrowLeft": () => zoom.move(step, 0), "Shift+ArrowRight": () => zoom.move(-step, 0),
  "Shift+ArrowUp": () => zoom.move(0, step), "Shift+ArrowDown": () => zoom.move(0, -step),
}; // prettier-ignore
onKeys(Object.fromEntries(Object.entries(keys).map(([key, action]) => [key, () => (begun ? action() : false)])));
