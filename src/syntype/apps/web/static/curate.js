// One key per decision. The next images are fetched and decoded in advance; a decision is saved before the next image is shown.
import { onKeys, onPress } from "/static/keys.js";
import { byId, call, make, oneAtATime, onSubmit, reviewerName, tell, thumbnail } from "/static/studio.js";

const who = byId("who");
const reviewer = reviewerName();
const base = `/api/collections/${who.dataset.collection}`;
const AHEAD = 5;
const waiting = []; // images to come, each with its picture already decoding
let shown = null;
let after = -1;
let begun = false;
let ended = false;
let fetching = null;
let judged = 0; // since Begin, without undone ones
let left = 0;

function ready(item) {
  const alt = `Synthetic image, labelled ${item.image.species ?? "without a species"}`;
  const picture = Object.assign(new Image(), { id: "image", src: thumbnail(who.dataset.collection, item.image, 1024), alt });
  const beside = item.nearest.map((near) => Object.assign(new Image(), { src: thumbnail(near.collection, near, 1024), alt: near.species ?? "" }));
  return { ...item, picture, beside, decoded: picture.decode().then(() => true, () => false) };
}

async function fetchAhead() {
  if (ended || waiting.length >= AHEAD) return;
  const query = new URLSearchParams({ reviewer: reviewer(), after, count: AHEAD - waiting.length });
  if (byId("real").value) query.set("real", byId("real").value);
  const page = await call("GET", `${base}/next?${query}`);
  if (after < 0) left = page.num_left; // counted from here on
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

const UNSEEN = "The picture of this image cannot be shown, so it can be neither accepted nor rejected. Press u to leave it, or reload the page.";

function show(item, seen = true) {
  shown = item;
  if (item) item.seen = seen;
  byId("counted").textContent = `${judged} judged, ${left} left`;
  byId("judging").hidden = !item;
  if (!item) {
    byId("status").textContent = "All images are judged. Undo with z.";
    return;
  }
  byId("image").replaceWith(item.picture); // decoded already; the old one given its address might be decoded again
  byId("caption").textContent = `${item.image.species ?? "no species"}, image ${item.image.image_id}`;
  byId("nearest").replaceChildren(
    ...item.nearest.map((near, number) => {
      const words = near.distance === null ? "same species" : `distance ${near.distance.toFixed(3)}`;
      return make("li", {}, item.beside[number], make("p", { textContent: `${near.species ?? ""} (${words})` }));
    }),
  );
  byId("reason").value = "";
}

async function next() {
  if (!waiting.length) await fill();
  const item = waiting.shift() ?? null;
  const seen = item ? await item.decoded : true;
  show(item, seen);
  requestAnimationFrame(() => setTimeout(() => fill().catch((error) => tell(error.message)))); // as soon as this one is painted
  if (!seen) throw new Error(UNSEEN);
}

const once = oneAtATime(); // keys pressed meanwhile are not taken for the next image

const decide = (decision) =>
  once(async () => {
    if (!shown) return;
    if (!shown.seen && decision !== "unsure") throw new Error(UNSEEN);
    shown.key ??= crypto.getRandomValues(new Uint32Array(4)).join("-"); // sent again after a lost answer, it counts once
    const reason = byId("reason").value || null;
    const verdict = { image_id: shown.image.image_id, reviewer: reviewer(), decision, reason, key: `${shown.key}-${decision}` };
    await call("POST", `${base}/verdicts`, verdict);
    judged += 1;
    left -= 1;
    byId("status").textContent = `${shown.image.image_id}: ${decision}`;
    await next();
  });

const undo = () =>
  once(async () => {
    const answer = await call("POST", `${base}/verdicts/undo`, { reviewer: reviewer() });
    if (!answer.item) {
      byId("status").textContent = "There is nothing to undo.";
      return;
    }
    judged = Math.max(0, judged - answer.num_undone);
    left += answer.num_undone;
    if (shown) waiting.unshift(shown);
    const item = ready(answer.item);
    show(item, await item.decoded);
    const many = answer.num_undone > 1 ? ` of ${answer.num_undone.toLocaleString("en")} images that were judged together. Press Begin to judge the others` : "";
    byId("status").textContent = `Undone: ${answer.verdict.decision}${many}`;
  });

function zoom() {
  const button = byId("zoom");
  button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
}

onSubmit(who, async () => {
  begun = true;
  waiting.length = 0;
  shown = null;
  after = -1;
  ended = false;
  judged = 0;
  await once(next);
  document.activeElement?.blur();
});

for (const button of document.querySelectorAll("[data-decision]")) onPress(button, () => decide(button.dataset.decision));
onPress(byId("undo"), undo);
onPress(byId("zoom"), zoom);
const keys = { a: () => decide("accept"), r: () => decide("reject"), u: () => decide("unsure"), z: undo, Enter: zoom };
onKeys(Object.fromEntries(Object.entries(keys).map(([key, action]) => [key, () => (begun ? action() : false)])));
