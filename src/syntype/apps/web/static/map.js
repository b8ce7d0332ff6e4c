// The map of a collection: the nearest image to the pointer is shown beside it, arrows go from image to image, Enter or a click opens one.
import { lightbox } from "./lightbox.js";
import { byId, call, make, tell, thumbnail } from "./studio.js";
import { t, tn } from "./texts.js";

const map = byId("map");
const [WIDTH, HEIGHT, EDGE] = [1000, 700, 20];
const NEAR = 30; // of the map's units
const draw = (tag, attributes) => {
  const element = document.createElementNS(map.namespaceURI, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};
const ring = draw("circle", { class: "ring", r: 10, visibility: "hidden" });
let points = [];
let current = null;

const open = lightbox({ find: () => map, focus: () => map.focus() });
const pageOf = (point) => `/collections/${point.collection}/images/${encodeURIComponent(point.image_id)}`;

function scale(values, length) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return (value) => EDGE + ((value - low) / (high - low || 1)) * (length - 2 * EDGE);
}

function point(at) {
  if (at === current || !at) return;
  current = at;
  for (const [name, value] of Object.entries({ cx: at.left, cy: at.top, visibility: "visible" })) ring.setAttribute(name, value);
  const image = byId("pointed-image");
  Object.assign(image, { src: thumbnail(at.collection, at, 320), hidden: false });
  byId("pointed").replaceChildren(make("i", { textContent: at.species ?? t("no species") }), at.origin === "real" ? t(", photograph {name}", { name: at.image_id }) : t(", synthetic image {name}", { name: at.image_id }));
}

const shown = () => points.filter((one) => !byId("of").value || one.species === byId("of").value);
const distance = (one, left, top) => Math.hypot(one.left - left, one.top - top);
const nearest = (left, top) => shown().reduce((best, one) => (!best || distance(one, left, top) < distance(best, left, top) ? one : best), null);

function placeOf(event) {
  const box = map.getBoundingClientRect();
  return [((event.clientX - box.left) / box.width) * WIDTH, ((event.clientY - box.top) / box.height) * HEIGHT];
}

// The image that lies best in a direction: near, and not far aside of it.
const AWAY = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
function next(key) {
  const [right, down] = AWAY[key];
  let best = null;
  for (const one of shown()) {
    const [across, along] = [one.left - current.left, one.top - current.top];
    const ahead = across * right + along * down;
    const aside = Math.abs(across * down) + Math.abs(along * right);
    const cost = ahead + 2 * aside;
    if (one !== current && ahead > 0 && aside <= 2 * ahead && (!best || cost < best.cost)) best = { one, cost };
  }
  return best?.one;
}

function dim() {
  for (const one of points) one.mark.classList.toggle("dim", Boolean(byId("of").value) && one.species !== byId("of").value);
}

async function begin() {
  const found = await call("GET", `/api/collections/${map.dataset.name}/map`);
  const left = scale(found.points.map((one) => one.x), WIDTH);
  const top = scale(found.points.map((one) => -one.y), HEIGHT);
  points = found.points.map((one) => ({ ...one, left: left(one.x), top: top(-one.y) }));
  for (const one of points) {
    const [x, y] = [one.left.toFixed(1), one.top.toFixed(1)];
    one.mark = one.origin === "real" ? draw("circle", { class: "dot real", cx: x, cy: y, r: 5 }) : draw("path", { class: "dot synthetic", d: `M${x} ${y}m0-6 6 11h-12z` });
  }
  map.replaceChildren(...points.map((one) => one.mark), ring);
  const counts = points.reduce((sum, one) => ({ ...sum, [one.origin]: (sum[one.origin] ?? 0) + 1 }), {});
  byId("num-real").textContent = tn("{n} photograph", "{n} photographs", counts.real ?? 0);
  byId("num-synthetic").textContent = tn("{n} synthetic image", "{n} synthetic images", counts.synthetic ?? 0);
  byId("of").append(...[...new Set(points.map((one) => one.species).filter(Boolean))].sort().map((textContent) => make("option", { textContent })));
  if (found.share !== null) byId("share").textContent = t("The map holds {share} % of the differences between the images, so distances in it are hints, no measurements. Of large collections {number} images each are drawn at random.", { share: Math.round(100 * found.share), number: 2000 });
}

map.addEventListener("pointermove", (event) => {
  const [left, top] = placeOf(event);
  const one = nearest(left, top);
  if (one && distance(one, left, top) < NEAR) point(one);
});
map.addEventListener("click", (event) => {
  const [left, top] = placeOf(event);
  const one = nearest(left, top);
  if (!one || distance(one, left, top) >= NEAR) return;
  point(one);
  open(pageOf(one));
});
map.addEventListener("focus", () => point(current ?? nearest(WIDTH / 2, HEIGHT / 2)));
map.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !current) return;
  if (event.key in AWAY) point(next(event.key));
  else if (event.key === "Enter") open(pageOf(current));
  else return;
  event.preventDefault();
});
byId("of").addEventListener("change", () => {
  dim();
  if (byId("of").value && current?.species !== byId("of").value) point(shown()[0]);
});
begin().catch((error) => tell(error.message));
