// The boxes of one photograph, drawn over it: dragged by mouse or finger, moved by the arrow keys, added and removed. Every step can be undone.
import { ask } from "./dialogs.js";
import { make } from "./studio.js";
import { t } from "./texts.js";

const SVG = new DOMParser().parseFromString("<svg></svg>", "text/html").body.firstChild.namespaceURI;
const CORNERS = [
  [t("Corner top left: move it with the arrow keys"), [0, 1]], [t("Corner top right: move it with the arrow keys"), [2, 1]],
  [t("Corner bottom right: move it with the arrow keys"), [2, 3]], [t("Corner bottom left: move it with the arrow keys"), [0, 3]],
]; // what each is called, and the numbers of the box that it moves // prettier-ignore
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function shape(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const picture = (address, { path, width, height }, side) =>
  shape("image", { href: `${address}/thumbnail?${new URLSearchParams({ path, side })}`, width, height, preserveAspectRatio: "none" });

// What a model sees of an animal: the square around its box.
export function crop(address, photograph, { species, box }) {
  const [left, top, right, bottom] = box ?? [0, 0, photograph.width, photograph.height];
  const side = Math.max(right - left, bottom - top);
  const fine = 3 * side < Math.max(photograph.width, photograph.height);
  const view = [(left + right - side) / 2, (top + bottom - side) / 2, side, side].join(" ");
  return shape("svg", { viewBox: view, role: "img", "aria-label": t("{species}, as it would be cut out", { species: species ?? t("no species") }) }, picture(address, photograph, fine ? 1024 : 320));
}

export function askBoxes(address, photograph, save) {
  const size = [photograph.width, photograph.height];
  let animals = structuredClone(photograph.animals);
  let chosen = 0;
  const past = [];
  const stage = shape("svg", { viewBox: `0 0 ${size.join(" ")}`, class: "boxing" });
  const species = make("input", { id: "box-species", maxLength: 300, autocomplete: "off", spellcheck: false });
  const label = make("label", { textContent: t("Species in the chosen box") });
  label.htmlFor = species.id;
  const said = make("p", { className: "hint" });
  said.setAttribute("role", "status");
  const button = (textContent, action) => {
    const made = make("button", { type: "button", className: "second", textContent });
    made.addEventListener("click", action);
    return made;
  };
  const add = button(t("Add a box"), () => change(addBox));
  const remove = button(t("Remove this box"), () => change(removeBox));
  const back = button(t("Undo"), undo);
  const sent = button(t("As it was sent"), () => finish(null));
  sent.hidden = !photograph.corrected;
  let asSent = false;

  const scale = () => 1 / stage.getScreenCTM().a; // pixels of the photograph in one of the screen
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  function remember() {
    past.push(JSON.stringify([animals, chosen]));
  }
  function change(action) {
    remember();
    action();
    draw();
  }
  function undo() {
    if (!past.length) return;
    [animals, chosen] = JSON.parse(past.pop());
    draw();
  }
  function addBox() {
    const [width, height] = size;
    const box = [width / 4, height / 4, (3 * width) / 4, (3 * height) / 4].map(Math.round);
    if (animals.length === 1 && !animals[0].box) animals[0].box = box;
    else animals.push({ number: null, species: animals[chosen].species, box });
    chosen = animals.length - 1;
  }
  function removeBox() {
    if (animals.length === 1) animals[0].box = null;
    else animals.splice(chosen, 1);
    chosen = 0;
  }

  // Move a corner, or the whole box, by so many pixels of the photograph; it stays inside, and a pixel wide at least.
  function move(box, corner, across, down) {
    const by = [across, down];
    if (!corner) {
      for (const axis of [0, 1]) {
        const step = clamp(by[axis], -box[axis], size[axis] - box[axis + 2]);
        box[axis] += step;
        box[axis + 2] += step;
      }
      return;
    }
    for (const edge of corner) {
      const axis = edge % 2;
      const [low, high] = edge < 2 ? [0, box[axis + 2] - 1] : [box[axis] + 1, size[axis]];
      box[edge] = clamp(box[edge] + by[axis], low, high);
    }
  }

  function hold(element, corner) {
    element.addEventListener("pointerdown", (event) => {
      if (!event.isPrimary || event.button) return;
      event.preventDefault();
      remember();
      const from = [event.clientX, event.clientY];
      const before = [...animals[chosen].box];
      const one = scale();
      stage.setPointerCapture(event.pointerId);
      const drag = ({ clientX, clientY }) => {
        animals[chosen].box = [...before];
        move(animals[chosen].box, corner, Math.round((clientX - from[0]) * one), Math.round((clientY - from[1]) * one));
        place();
      };
      const drop = () => {
        stage.removeEventListener("pointermove", drag);
        if (String(before) === String(animals[chosen].box)) past.pop(); // it was only touched
        draw();
      };
      stage.addEventListener("pointermove", drag);
      stage.addEventListener("lostpointercapture", drop, { once: true });
    });
    element.addEventListener("keydown", (event) => {
      const step = STEPS[event.key];
      if (!step) return;
      event.preventDefault();
      remember();
      const far = event.shiftKey ? Math.max(1, Math.round(size[0] / 50)) : 1;
      move(animals[chosen].box, corner, far * step[0], far * step[1]);
      place();
    });
  }

  // Put what is drawn of the chosen box where that is now.
  function place() {
    const box = animals[chosen].box;
    const [left, top, right, bottom] = box;
    const rect = stage.querySelector(".chosen");
    for (const [name, value] of Object.entries({ x: left, y: top, width: right - left, height: bottom - top })) rect.setAttribute(name, value);
    for (const [number, [, [across, down]]] of CORNERS.entries()) {
      const handle = stage.querySelectorAll("circle")[number];
      for (const [name, value] of Object.entries({ cx: box[across], cy: box[down], r: 12 * scale() })) handle.setAttribute(name, value);
    }
    said.textContent = t("From {start} to {end} of {size} pixels", { start: `${Math.round(left)}, ${Math.round(top)}`, end: `${Math.round(right)}, ${Math.round(bottom)}`, size: size.join(" × ") });
    back.disabled = !past.length;
  }

  function choose(index) {
    chosen = index;
    draw();
    stage.querySelector(".chosen").focus();
  }

  function draw() {
    const focused = document.activeElement?.getAttribute?.("aria-label");
    const others = animals.flatMap(({ box, species: name }, index) => {
      if (!box || index === chosen) return [];
      const rect = shape("rect", { x: box[0], y: box[1], width: box[2] - box[0], height: box[3] - box[1], tabindex: 0, role: "button", "aria-label": t("Choose box {number}, {species}", { number: index + 1, species: name }) });
      rect.addEventListener("click", () => choose(index));
      rect.addEventListener("keydown", (event) => ["Enter", " "].includes(event.key) && (event.preventDefault(), choose(index)));
      return [rect];
    });
    const mine = [];
    if (animals[chosen].box) {
      const rect = shape("rect", { class: "chosen", tabindex: 0, role: "button", "aria-label": t("Box {number}, {species}: move it with the arrow keys", { number: chosen + 1, species: animals[chosen].species }) });
      hold(rect, null);
      mine.push(rect);
      for (const [name, corner] of CORNERS) {
        const handle = shape("circle", { tabindex: 0, role: "button", "aria-label": name });
        hold(handle, corner);
        mine.push(handle);
      }
    }
    stage.replaceChildren(picture(address, photograph, 1024), ...others, ...mine);
    if (mine.length) place();
    else said.textContent = t("The whole photograph is taken.");
    for (const element of stage.querySelectorAll("[aria-label]")) if (element.getAttribute("aria-label") === focused) element.focus();
    species.value = animals[chosen].species ?? "";
    remove.disabled = !animals[chosen].box;
    remove.textContent = animals.length > 1 ? t("Remove this animal") : t("Remove the box: take the whole photograph");
    back.disabled = !past.length;
  }

  species.addEventListener("change", () => {
    const name = species.value.normalize("NFC").trim().split(/\s+/u).join(" ");
    if (name) change(() => (animals[chosen].species = name));
    else draw();
  });
  stage.addEventListener("keydown", (event) => {
    if (event.key !== "z") return;
    event.preventDefault();
    undo();
  });
  function finish() {
    asSent = true;
    stage.closest("form").requestSubmit();
  }
  const parts = [
    make("p", { className: "hint", textContent: t("Drag a corner or the box. By keyboard: Tab goes from corner to corner, the arrows move it (with Shift further), z takes a step back.") }),
    stage,
    said,
    make("div", {}, label, species),
    make("p", { className: "actions" }, add, remove, back, sent),
  ];
  const asked = ask(t("Boxes of {file}", { file: photograph.path }), parts, t("Keep these boxes"), () => save(asSent ? null : animals).finally(() => (asSent = false)));
  stage.closest("dialog").classList.add("wide-dialog");
  draw();
  stage.querySelector(".chosen")?.focus();
  return asked;
}
