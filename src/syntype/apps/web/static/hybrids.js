// One picture between two species that moves with a slider. Frames are fetched ahead, a sheet at a time, and the nearest one is shown at once.
import { onKeys } from "./keys.js";
import { patch } from "./patch.js";
import { byId, call, make, signInAgain, tell } from "./studio.js";
import { t } from "./texts.js";

const { generator, id: generatorId, api, page, public: isPublic } = byId("hybrids").dataset;
const STEPS = Number(byId("x").max);
const ROWS = Number(byId("y").max);
const LONG = 20; // seconds: longer drawings are asked for with a button
const picture = byId("picture").getContext("2d");
const map = byId("map").getContext("2d");
const fields = ["first", "second", "x", "y"].map(byId);
const [first, second, slider, other] = fields;
const named = [...first.options].map((option) => option.value);
const random = () => crypto.getRandomValues(new Uint32Array(1))[0] >>> 1;
const round = (value) => Math.round(value * 1e6) / 1e6;
second.append(...[...first.options].map((option) => option.cloneNode(true)));

let seeds = [0, 1];
let frames = []; // what is drawn: x, y, the sheet and the place in it
let stop = new AbortController();
let apart = true; // whether the family can change species and individual apart
let seconds = 0; // that the last sheet took
let strips = new Set(); // positions between the individuals whose strips were asked for

const alone = () => first.value === second.value;
const where = () => (alone() ? { x: 0, y: round(slider.value / STEPS) } : { x: round(slider.value / STEPS), y: round(other.value / ROWS) });
const hybrid = () => ({ first: first.value, second: second.value, seed: seeds[0], other: seeds[1], ...where() });
const query = (more = {}) => new URLSearchParams({ ...hybrid(), ...more });

// What is shown

function nearest({ x, y }) {
  let best = null;
  for (const frame of frames) {
    const far = Math.abs(frame.x - x) + 10 * Math.abs(frame.y - y);
    if (!best || far < best.far) best = { ...frame, far };
  }
  return best;
}

function words() {
  const { x, y } = where();
  const single = alone() || x === 0 || x === 1;
  const told = single ? (x === 1 ? second : first).value : `${Math.round(100 * (1 - x))} % ${first.value}, ${Math.round(100 * x)} % ${second.value}`;
  if (y === 0) return told;
  return y === 1 ? t("{species}, the other individual", { species: told }) : t("{species}, {share} % of the way to the other individual", { species: told, share: Math.round(100 * y) });
}

function show() {
  const frame = nearest(where());
  if (frame) {
    const { width, size, sheet, place, columns } = frame;
    if (picture.canvas.width !== width || picture.canvas.height !== size) Object.assign(picture.canvas, { width, height: size });
    picture.drawImage(sheet, (place % columns) * width, Math.floor(place / columns) * size, width, size, 0, 0, width, size);
    picture.canvas.dataset.frame = `${frame.x},${frame.y}`;
  }
  const told = words();
  byId("caption").textContent = told;
  picture.canvas.ariaLabel = t("Synthetic picture: {words}", { words: told });
  slider.setAttribute("aria-valuetext", told);
  const cell = ({ x, y }) => [x, y].map((share) => `${(100 * (share * ROWS + 0.5)) / (ROWS + 1)}%`); // the middle of the picture there
  [byId("cross").style.left, byId("cross").style.top] = cell(where());
  const left = query();
  for (const [link, what, more] of [["png", "image", {}], ["webp", "animation", { suffix: "webp" }], ["gif", "animation", { suffix: "gif" }]]) byId(link).href = `${api}/${what}?${query(more)}`;
  const address = page === "/hybrids" ? `${page}?${new URLSearchParams({ generator })}&${left}` : `${page}?${left}`;
  byId("link").value = location.origin + address;
  if (byId("qr").open) code();
}

let later = 0;
function code() {
  clearTimeout(later);
  later = setTimeout(() => (byId("code").src = `${api}/code?${query()}`), 300);
}

// The address says what is shown, so that reloading, going back and sending it give the same.
let writing = 0;
const write = (how) => history[how](null, "", byId("link").value);
function remember() {
  clearTimeout(writing);
  writing = setTimeout(() => write("replaceState"), 250); // browsers refuse many changes in a short time
}

// Fetching

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// One sheet; while the server is busy, it is asked for again.
async function sheet(layout, part, signal) {
  for (;;) {
    let answer;
    try {
      answer = await fetch(`${api}/sheet?${query({ layout, part })}`, { signal });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Error(t("The server does not answer. Check that it runs, then move the slider."));
    }
    if (answer.status === 401) signInAgain();
    if (answer.ok) {
      const about = JSON.parse(answer.headers.get("X-Syntype-Sheet"));
      ({ seconds } = about);
      return { ...about, image: await createImageBitmap(await answer.blob()) };
    }
    const { error } = await answer.json();
    const wait = Number(answer.headers.get("Retry-After"));
    if (!wait) throw Object.assign(new Error(error), { unsupported: answer.status === 422 });
    byId("drawing").textContent = `${error[0].toUpperCase()}${error.slice(1)}`;
    await pause(1000 * (wait + Math.random()));
    if (signal.aborted) throw new DOMException("", "AbortError");
  }
}

async function fetchAll(layout, { signal }) {
  for (let part = 0, parts = 1; part < parts; part++) {
    const drawn = await sheet(layout, part, signal);
    if (signal.aborted) return;
    parts = drawn.parts;
    drawn.points.forEach(([x, y], place) => {
      const { width, size, columns, image } = drawn;
      const frame = { x, y, width, size, columns, sheet: image, place };
      frames.push(frame);
      if (layout === "map") onMap(frame);
    });
    describeSize(drawn);
    slider.disabled = false;
    byId("drawing").hidden = part === parts - 1;
    byId("drawing").textContent = t("{share} % drawn", { share: Math.round((100 * (part + 1)) / parts) });
    show();
    if (layout === "strip" && part === 0) offerMap(parts);
    if (layout === "map") byId("pad").hidden = false;
  }
}

function onMap({ x, y, width, size, columns, sheet, place }) {
  const cell = 32;
  const canvas = map.canvas;
  if (canvas.width !== cell * (ROWS + 1)) canvas.width = canvas.height = cell * (ROWS + 1);
  map.drawImage(sheet, (place % columns) * width, Math.floor(place / columns) * size, width, size, Math.round(x * ROWS) * cell, Math.round(y * ROWS) * cell, cell, cell);
}

function describeSize({ width }) {
  const shown = Math.round(byId("picture").getBoundingClientRect().width);
  const times = shown / width;
  byId("size").textContent = times > 1.5 ? t("The generator draws {width} pixels; they are shown about {times} times as large. There is no more detail in them.", { width: String(width), times: Math.round(times) }) : t("The generator draws {width} pixels.", { width: String(width) });
  byId("enlarged").hidden = times <= 1.5;
}

// Slow generators draw the map only if somebody wants it.
let wanted = false;
function offerMap(parts) {
  const button = byId("draw-map");
  const all = Math.ceil(((ROWS + 1) ** 2 / (STEPS + 1)) * parts) * seconds;
  button.hidden = wanted || all <= LONG;
  button.textContent = all < 90 ? t("Draw the map (about {seconds} s)", { seconds: Math.round(all) }) : t("Draw the map (about {minutes} min)", { minutes: Math.round(all / 60) });
}
byId("draw-map").addEventListener("click", () => {
  wanted = true;
  byId("draw-map").hidden = true;
  byId("drawing").hidden = false;
  run((control) => fetchAll("map", control));
});

async function run(action) {
  const control = stop;
  try {
    await action(control);
    if (!control.signal.aborted) tell("");
  } catch (error) {
    if (error.name === "AbortError") return;
    byId("drawing").hidden = true;
    tell(error.message);
  }
}

// Draw everything anew: other species or individuals.
function begin(anew = true) {
  clearTimeout(writing);
  if (anew) write("replaceState"); // where one goes back to
  stop.abort();
  stop = new AbortController();
  frames = [];
  strips = new Set([0]);
  slider.disabled = true;
  byId("drawing").hidden = false;
  byId("drawing").textContent = t("Drawing…");
  byId("individuals").hidden = alone() || !apart;
  byId("left").textContent = alone() ? t("one individual") : first.value;
  byId("right").textContent = alone() ? t("another individual") : second.value;
  byId("pad").hidden = true;
  show();
  if (anew) write("pushState");
  run(async (control) => {
    strips.add(where().y);
    await fetchAll("strip", control);
    if (alone() || !apart || !byId("draw-map").hidden) return;
    try {
      await fetchAll("map", control);
    } catch (error) {
      if (!error.unsupported) throw error;
      apart = false;
      Object.assign(byId("apart"), { hidden: false, textContent: error.message });
      byId("individuals").hidden = true;
      byId("drawing").hidden = true;
    }
  });
}

// A strip of its own for a position between the individuals, once somebody rests there.
let resting = 0;
function refine() {
  clearTimeout(resting);
  resting = setTimeout(() => {
    const { y } = where();
    if (alone() || strips.has(y) || seconds > LONG) return;
    strips.add(y);
    run((control) => fetchAll("strip", control));
  }, 400);
}

// What people do

function move() {
  show();
  remember();
}
slider.addEventListener("input", move);
other.addEventListener("input", () => {
  move();
  refine();
});
for (const choice of [first, second]) choice.addEventListener("change", () => begin());
byId("swap").addEventListener("click", () => {
  [first.value, second.value] = [second.value, first.value];
  if (!alone()) slider.value = STEPS - slider.value;
  begin();
});
function reroll() {
  seeds = [random(), random()];
  begin();
}
byId("reroll").addEventListener("click", reroll);

function toPad(event) {
  const bounds = byId("pad").getBoundingClientRect();
  const share = (at, from, length) => Math.min(1, Math.max(0, (((at - from) / length) * (ROWS + 1) - 0.5) / ROWS));
  slider.value = Math.round(share(event.clientX, bounds.left, bounds.width) * STEPS);
  other.value = Math.round(share(event.clientY, bounds.top, bounds.height) * ROWS);
  move();
}
byId("pad").addEventListener("pointerdown", (event) => {
  byId("pad").setPointerCapture(event.pointerId);
  toPad(event);
});
byId("pad").addEventListener("pointermove", (event) => event.buttons && toPad(event));
byId("pad").addEventListener("pointerup", refine);

byId("smooth").checked = localStorage.getItem("smooth") === "yes";
function smooth() {
  picture.canvas.classList.toggle("smooth", byId("smooth").checked);
  localStorage.setItem("smooth", byId("smooth").checked ? "yes" : "");
}
byId("smooth").addEventListener("change", smooth);
smooth();

byId("copy").addEventListener("click", async () => {
  byId("link").select();
  try {
    await navigator.clipboard.writeText(byId("link").value);
  } catch {
    document.execCommand("copy"); // pages without https have no clipboard
  }
  byId("copy").textContent = t("Copied");
  setTimeout(() => (byId("copy").textContent = t("Copy")), 1500);
});
byId("qr").addEventListener("toggle", code);
byId("local").hidden = !/^(localhost|127\.|\[::1\])/.test(location.hostname);

// The projector view: the picture and the slider, nothing else.
const stage = byId("hybrids");
function project(on) {
  stage.classList.toggle("projected", on);
  if (on) stage.requestFullscreen?.().catch(() => {}); // without it, the view fills the window
  else if (document.fullscreenElement) document.exitFullscreen();
  byId("project").textContent = on ? t("Leave the projector view") : t("Projector view");
  slider.focus();
}
byId("project").addEventListener("click", () => project(!stage.classList.contains("projected")));
document.addEventListener("fullscreenchange", () => document.fullscreenElement || project(false));

const elsewhere = (which) => document.activeElement.matches(which); // there keys have their own meaning
const step = (by) => {
  if (slider.disabled || elsewhere("input, select")) return false;
  slider.value = Number(slider.value) + by;
  move();
};
const unless = (action) => () => (elsewhere("select") ? false : action());
onKeys({
  ArrowLeft: () => step(-1),
  ArrowRight: () => step(1),
  r: unless(reroll),
  f: unless(() => byId("keep")?.click()),
  p: unless(() => byId("project").click()),
  Escape: () => stage.classList.contains("projected") && project(false),
});

// Kept hybrids, which only those have who are signed in.
function kept(item) {
  const same = item.generator_id === generatorId;
  const told = item.first === item.second || item.x === 0 ? item.first : item.x === 1 ? item.second : `${item.first} × ${item.second}, ${Math.round(100 * item.x)} %`;
  const { first: from, second: to, seed, other: more, x, y } = item;
  const link = make("a", { href: `${page}?${new URLSearchParams({ generator, first: from, second: to, seed, other: more, x, y })}` });
  link.append(make("img", { src: `${api}/favourites/${item.id}/picture`, alt: told, width: 160, height: 160, loading: "lazy" }));
  const remove = make("button", { type: "button", className: "second", textContent: t("Remove"), ariaLabel: t("Remove {name}", { name: told }) });
  remove.addEventListener("click", async () => {
    remove.disabled = true;
    await call("DELETE", `${api}/favourites/${item.id}`).then(showKept, (error) => tell(error.message));
  });
  const note = same ? [] : [make("p", { className: "hint", textContent: t("Drawn before the generator was trained further: it is drawn differently now.") })];
  const entry = make("li", {}, link, make("p", { textContent: told }), ...note, ...(byId("keep") ? [remove] : []));
  entry.dataset.key = item.id;
  return entry;
}

async function showKept() {
  const items = await call("GET", `${api}/favourites`);
  patch(byId("kept"), items.map(kept));
  byId("none-kept").hidden = items.length > 0;
}

byId("keep")?.addEventListener("click", async () => {
  byId("keep").disabled = true;
  try {
    await call("POST", `${api}/favourites`, hybrid());
    await showKept();
    byId("keep").textContent = t("Kept");
    setTimeout(() => (byId("keep").textContent = t("Keep it")), 1500);
    tell("");
  } catch (error) {
    tell(error.message);
  } finally {
    byId("keep").disabled = false;
  }
});

// What the address says.
function read() {
  const given = new URLSearchParams(location.search);
  const asked = given.getAll("species");
  const number = (name, otherwise) => (given.has(name) && Number.isFinite(Number(given.get(name))) ? Number(given.get(name)) : otherwise);
  for (const [field, name, place] of [[first, given.get("first") ?? asked[0], 0], [second, given.get("second") ?? asked[1] ?? asked[0], 1]]) {
    if (name && !named.includes(name)) tell(t("This generator has no species “{name}”; another one is shown.", { name }));
    field.value = named.includes(name) ? name : (named[place] ?? named[0]);
  }
  seeds = [number("seed", 0), number("other", 1)].map((seed) => Math.min(2 ** 31 - 1, Math.max(0, Math.trunc(seed))));
  other.value = Math.round(number("y", 0) * ROWS);
  slider.value = Math.round((alone() ? number("y", 0.5) : number("x", 0.5)) * STEPS);
}
addEventListener("popstate", () => {
  read();
  begin(false);
});
byId("which")?.addEventListener("change", () => byId("which").submit());
read();
begin(false);
remember();
if (!isPublic) showKept().catch((error) => tell(error.message));
