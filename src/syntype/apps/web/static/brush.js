// A mask painted over the square of a photograph that generators see: white where to draw anew. It is sent as an upload.
import { chosen } from "/static/choose.js";
import { before } from "/static/new.js";
import { byId, call } from "/static/studio.js";

const canvas = byId("mask");
const square = byId("square");
const paint = canvas.getContext("2d", { willReadFrequently: true });
const SIDE = canvas.width;
let start = null;
let last = null;
let kept = null; // the mask before the box that is being drawn

function clear() {
  paint.clearRect(0, 0, SIDE, SIDE);
}

function place(event) {
  const bounds = canvas.getBoundingClientRect();
  return { x: ((event.clientX - bounds.left) / bounds.width) * SIDE, y: ((event.clientY - bounds.top) / bounds.height) * SIDE };
}

function fillBox(left, top, right, bottom) {
  paint.fillRect(Math.min(left, right), Math.min(top, bottom), Math.abs(right - left), Math.abs(bottom - top));
}

function drawTo(point) {
  if (byId("box").checked) {
    paint.putImageData(kept, 0, 0);
    fillBox(start.x, start.y, point.x, point.y);
    return;
  }
  paint.lineWidth = (byId("width").value / 100) * SIDE;
  paint.beginPath();
  paint.moveTo(last.x, last.y);
  paint.lineTo(point.x, point.y);
  paint.stroke();
  last = point;
}

paint.fillStyle = paint.strokeStyle = "#fff";
paint.lineCap = paint.lineJoin = "round";
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  start = last = place(event);
  kept = paint.getImageData(0, 0, SIDE, SIDE);
  drawTo(start);
});
canvas.addEventListener("pointermove", (event) => last && drawTo(place(event)));
for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, () => (last = null));
for (const [tool, other] of [["brush", "box"], ["box", "brush"]]) byId(tool).addEventListener("change", () => (byId(other).checked = false));
byId("clear").addEventListener("click", clear);
byId("mark").addEventListener("click", () => fillBox(...["left", "top", "right", "bottom"].map((side) => (byId(side).value / 100) * SIDE)));

function showSquare() {
  const [photograph] = chosen();
  square.hidden = !photograph;
  if (photograph) square.src = `/api/collections/${byId("collection").value}/images/${encodeURIComponent(photograph)}/square`;
}
byId("photographs").addEventListener("picked", () => {
  clear();
  showSquare();
  canvas.scrollIntoView({ block: "center" });
});
showSquare();

before(async (request) => {
  const pixels = paint.getImageData(0, 0, SIDE, SIDE).data;
  if (!pixels.some((value) => value)) throw new Error("Mark the part to fill in first.");
  const mask = new OffscreenCanvas(SIDE, SIDE); // black where the photograph stays
  const flat = mask.getContext("2d");
  flat.fillRect(0, 0, SIDE, SIDE);
  flat.drawImage(canvas, 0, 0);
  const { upload } = await call("POST", "/api/uploads");
  const discard = () => call("DELETE", `/api/uploads/${upload}`).catch(() => {}); // it is of no use without the job
  try {
    await call("PUT", `/api/uploads/${upload}/files?name=mask.png&species=mask`, await mask.convertToBlob());
  } catch (error) {
    await discard();
    throw error;
  }
  request.mask = upload;
  return discard;
});
