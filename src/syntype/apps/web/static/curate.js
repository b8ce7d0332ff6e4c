// One key a decision. The next images are fetched and decoded ahead; a decision is saved before the next image shows.
import { call, make, tell } from "/static/studio.js";

const element = (id) => document.getElementById(id);
const who = element("who");
const base = `/api/collections/${who.dataset.collection}`;
const AHEAD = 5;
const waiting = []; // images to come, each with its picture already decoding
let shown = null;
let after = -1;
let ended = false;
let fetching = null;
let busy = false;

// Named by its content, so that the browser keeps what was fetched ahead.
function address(collection, image) {
  const query = new URLSearchParams({ side: 1024, ...(image.sha256 && { version: image.sha256 }) });
  return `/api/collections/${collection}/images/${encodeURIComponent(image.image_id)}/thumbnail?${query}`;
}

function ready(item) {
  const picture = new Image();
  picture.src = address(who.dataset.collection, item.image);
  const beside = item.nearest.map((near) => Object.assign(new Image(), { src: address(near.collection, near), alt: near.species ?? "" }));
  return { ...item, picture, beside, decoded: picture.decode().catch(() => {}) };
}

async function fetchAhead() {
  if (ended) return;
  const query = new URLSearchParams({ reviewer: element("reviewer").value.trim(), after, count: AHEAD });
  if (element("real").value) query.set("real", element("real").value);
  const page = await call("GET", `${base}/next?${query}`);
  element("left").textContent = `${page.num_left} images are left for you.`;
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

function show(item) {
  shown = item;
  element("judging").hidden = !item;
  if (!item) {
    element("status").textContent = "Every image is judged. Undo with z.";
    return;
  }
  element("image").src = item.picture.src;
  element("image").alt = `Synthetic image, said to be ${item.image.species ?? "of no species"}`;
  element("caption").textContent = `${item.image.species ?? "no species"}, image ${item.image.image_id}`;
  element("nearest").replaceChildren(
    ...item.nearest.map((near, number) => {
      const words = near.distance === null ? "same species" : `distance ${near.distance.toFixed(3)}`;
      return make("li", {}, item.beside[number], make("p", { textContent: `${near.species ?? ""} (${words})` }));
    }),
  );
  element("reason").value = "";
}

async function next() {
  if (!waiting.length) await fill();
  const item = waiting.shift() ?? null;
  if (item) await item.decoded;
  show(item);
  if (waiting.length < AHEAD - 2) fill().catch((error) => tell(error.message));
}

// One action at a time: keys pressed meanwhile are dropped rather than taken for the next image.
async function once(action) {
  if (busy) return;
  busy = true;
  try {
    await action();
    tell("");
  } catch (error) {
    tell(error.message);
  } finally {
    busy = false;
  }
}

const decide = (decision) =>
  once(async () => {
    if (!shown) return;
    shown.key ??= crypto.getRandomValues(new Uint32Array(4)).join("-"); // sent again after a lost answer, it counts once
    const reason = element("reason").value || null;
    const verdict = { image_id: shown.image.image_id, reviewer: element("reviewer").value.trim(), decision, reason, key: `${shown.key}-${decision}` };
    await call("POST", `${base}/verdicts`, verdict);
    element("status").textContent = `${shown.image.image_id}: ${decision}`;
    await next();
  });

const undo = () =>
  once(async () => {
    const answer = await call("POST", `${base}/verdicts/undo`, { reviewer: element("reviewer").value.trim() });
    if (!answer.item) {
      element("status").textContent = "Nothing is left to undo.";
      return;
    }
    if (shown) waiting.unshift(shown);
    const item = ready(answer.item);
    await item.decoded;
    show(item);
    element("status").textContent = `Taken back: ${answer.verdict.decision}`;
  });

function zoom() {
  const button = element("zoom");
  button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
}

who.addEventListener("submit", (event) => {
  event.preventDefault();
  localStorage.setItem("reviewer", element("reviewer").value);
  waiting.length = 0;
  shown = null;
  after = -1;
  ended = false;
  once(next).then(() => document.activeElement?.blur());
});

for (const button of document.querySelectorAll("[data-decision]")) button.addEventListener("click", () => decide(button.dataset.decision));
element("undo").addEventListener("click", undo);
element("zoom").addEventListener("click", zoom);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  const actions = { a: () => decide("accept"), r: () => decide("reject"), u: () => decide("unsure"), z: undo };
  if (event.key === "Enter" && event.target.tagName !== "BUTTON" && event.target.tagName !== "A") zoom();
  else if (event.key in actions) actions[event.key]();
});
element("reviewer").value = localStorage.getItem("reviewer") ?? "";
