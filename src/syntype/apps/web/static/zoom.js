// Several pictures beside one another, enlarged together: what is seen of one is the same part that is seen of the others.

const LARGEST = 8;
const STEP = 1.5;

// "place" holds the panes (.pane), each with a picture that fills it. "changed" is called with the scale whenever it changes.
export function zoomTogether(place, changed) {
  let [scale, x, y] = [1, 0, 0]; // x, y: how far the pictures are moved, in sides of a pane
  const pointers = new Map();
  const within = (value) => Math.min((scale - 1) / 2, Math.max((1 - scale) / 2, value));

  function apply() {
    [x, y] = [within(x), within(y)];
    place.style.setProperty("--scale", scale);
    place.style.setProperty("--x", `${100 * x}%`);
    place.style.setProperty("--y", `${100 * y}%`);
    place.toggleAttribute("data-zoomed", scale > 1);
    changed(scale);
  }

  // The point that stays where it is: from the middle of a pane, in sides of it.
  function zoom(factor, [px, py] = [0, 0]) {
    const before = scale;
    scale = Math.min(LARGEST, Math.max(1, scale * factor));
    [x, y] = [px - ((px - x) * scale) / before, py - ((py - y) * scale) / before];
    apply();
  }

  function pointIn(pane, { clientX, clientY }) {
    const box = pane.getBoundingClientRect();
    return [(clientX - box.left) / box.width - 0.5, (clientY - box.top) / box.height - 0.5];
  }

  function move(dx, dy) {
    [x, y] = [x + dx, y + dy];
    apply();
  }

  for (const pane of place.querySelectorAll(".pane")) {
    pane.addEventListener("wheel", (event) => {
      if (scale === 1 && event.deltaY > 0) return; // the page scrolls
      event.preventDefault();
      zoom(STEP ** (-event.deltaY / 100), pointIn(pane, event));
    }, { passive: false }); // prettier-ignore
    pane.addEventListener("dblclick", (event) => (scale > 1 ? reset() : zoom(3, pointIn(pane, event))));
    pane.addEventListener("pointerdown", (event) => {
      pointers.set(event.pointerId, pointIn(pane, event));
      pane.setPointerCapture(event.pointerId);
    });
    pane.addEventListener("pointermove", (event) => {
      const from = pointers.get(event.pointerId);
      if (!from) return;
      const to = pointIn(pane, event);
      const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
      pointers.set(event.pointerId, to);
      if (other) {
        const apart = ([ax, ay]) => Math.hypot(ax - other[0], ay - other[1]) || 1e-3;
        zoom(apart(to) / apart(from), [(to[0] + other[0]) / 2, (to[1] + other[1]) / 2]);
      } else if (scale > 1) move(to[0] - from[0], to[1] - from[1]);
    });
    for (const end of ["pointerup", "pointercancel"]) pane.addEventListener(end, (event) => pointers.delete(event.pointerId));
  }

  function reset() {
    if (scale > 1) zoom(0);
  }

  return { zoomIn: () => zoom(STEP), zoomOut: () => zoom(1 / STEP), toggle: () => (scale > 1 ? reset() : zoom(3)), reset, move };
}
