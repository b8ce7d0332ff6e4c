// A mask painted over the square of a photograph that generators see: white where to draw anew. It is sent as an upload.
import { chosen } from "./choose.js";
import { before, keepState } from "./new.js";
import { byId, call } from "./studio.js";
import { t } from "./texts.js";

const canvas = byId("mask");
const square = byId("square");
const ring = byId("ring");
const size = byId("width");
const paint = canvas.getContext("2d", { willReadFrequently: true });
const SIDE = canvas.width;
const MOST = 50; // strokes that can be undone
const strokes = []; // the mask before each
let start = null;
let last = null;

const mask = () => paint.getImageData(0, 0, SIDE, SIDE);
const isEmpty = () => !mask().data.some((value) => value);

function place(event) {
  const bounds = canvas.getBoundingClientRect();
  return { x: ((event.clientX - bounds.left) / bounds.width) * SIDE, y: ((event.clientY - bounds.top) / bounds.height) * SIDE };
}

function fillBox(left, top, right, bottom) {
  paint.fillRect(Math.min(left, right), Math.min(top, bottom), Math.abs(right - left), Math.abs(bottom - top));
}

// Every change can be undone, and is kept with this page, so that it is there when one comes back.
function beginStroke() {
  strokes.push(mask());
  if (strokes.length > MOST) strokes.shift();
}
function endStroke() {
  byId("undo").disabled = !strokes.length;
  keepState({ mask: isEmpty() ? null : canvas.toDataURL(), masked: chosen()[0] });
}
function undo() {
  if (last || !strokes.length) return;
  paint.putImageData(strokes.pop(), 0, 0);
  endStroke();
}
function change(action) {
  beginStroke();
  action();
  endStroke();
}
const clear = () => paint.clearRect(0, 0, SIDE, SIDE);

function drawTo(point) {
  if (byId("box").checked) {
    paint.putImageData(strokes.at(-1), 0, 0);
    fillBox(start.x, start.y, point.x, point.y);
    return;
  }
  paint.lineWidth = (size.value / 100) * SIDE;
  paint.beginPath();
  paint.moveTo(last.x, last.y);
  paint.lineTo(point.x, point.y);
  paint.stroke();
  last = point;
}

// The ring shows how much the brush paints.
function showRing(event) {
  const { x, y } = place(event);
  ring.hidden = byId("box").checked;
  Object.assign(ring.style, { left: `${(100 * x) / SIDE}%`, top: `${(100 * y) / SIDE}%`, width: `${size.value}%` });
}

paint.fillStyle = paint.strokeStyle = "#fff";
paint.lineCap = paint.lineJoin = "round";
canvas.addEventListener("pointerdown", (event) => {
  if (!event.isPrimary || event.button) return; // a second finger paints nothing
  canvas.setPointerCapture(event.pointerId);
  start = last = place(event);
  beginStroke();
  drawTo(start);
});
canvas.addEventListener("pointermove", (event) => {
  if (!event.isPrimary) return;
  showRing(event);
  if (last) for (const part of event.getCoalescedEvents?.() ?? [event]) drawTo(place(part));
});
for (const kind of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(kind, (event) => {
    if (!last || !event.isPrimary) return;
    last = null;
    endStroke();
  });
}
canvas.addEventListener("pointerleave", () => (ring.hidden = true));
for (const [tool, other] of [["brush", "box"], ["box", "brush"]]) byId(tool).addEventListener("change", () => (byId(other).checked = false));
byId("undo").addEventListener("click", undo);
byId("clear").addEventListener("click", () => change(clear));
byId("mark").addEventListener("click", () => change(() => fillBox(...["left", "top", "right", "bottom"].map((side) => (byId(side).value / 100) * SIDE))));
document.addEventListener("keydown", (event) => {
  if (event.altKey || (/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) && !["range", "radio"].includes(event.target.type))) return;
  if (event.key.toLowerCase() === "z") undo();
  else if (event.ctrlKey || event.metaKey) return;
  else if (event.key === "[") size.stepDown(2);
  else if (event.key === "]") size.stepUp(2);
  else return;
  event.preventDefault();
});

function showSquare() {
  const [photograph] = chosen();
  square.hidden = !photograph;
  if (photograph) square.src = `/api/collections/${byId("collection").value}/images/${encodeURIComponent(photograph)}/square`;
}
byId("photographs").addEventListener("picked", () => {
  clear();
  strokes.length = 0;
  endStroke();
  showSquare();
  canvas.scrollIntoView({ block: "center" });
});
showSquare();
if (history.state?.mask && history.state.masked === chosen()[0]) {
  const bytes = Uint8Array.from(atob(history.state.mask.split(",")[1]), (letter) => letter.charCodeAt(0));
  createImageBitmap(new Blob([bytes])).then((earlier) => paint.drawImage(earlier, 0, 0));
}

before(async (request) => {
  if (isEmpty()) throw new Error(t("Mark the part to fill in first."));
  const sent = new OffscreenCanvas(SIDE, SIDE); // black where the photograph stays
  const flat = sent.getContext("2d");
  flat.fillRect(0, 0, SIDE, SIDE);
  flat.drawImage(canvas, 0, 0);
  const { upload } = await call("POST", "/api/uploads");
  const discard = () => call("DELETE", `/api/uploads/${upload}`).catch(() => {}); // it is of no use without the job
  try {
    await call("PUT", `/api/uploads/${upload}/files?name=mask.png&species=mask`, await sent.convertToBlob());
  } catch (error) {
    await discard();
    throw error;
  }
  request.mask = upload;
  return discard;
});
