/** Mouse, touch and keyboard on the map. */

const STEP = 60; // pixels
const CLICK = 5; // pixels that a click may move
const ZOOM = 1.35;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

/**
 * Listens on the canvas.
 * @param {HTMLCanvasElement} canvas
 * @param {Object} act What to do: pan(dx, dy), zoom(factor, x, y), hover(x, y), choose(x, y), step(dx, dy),
 *   take(), reset().
 */
export function listen(canvas, act) {
  const pointers = new Map();
  let travelled = 0;
  canvas.addEventListener("pointerdown", (event) => {
    pointers.set(event.pointerId, at(event));
    canvas.setPointerCapture(event.pointerId);
    travelled = pointers.size > 1 ? CLICK + 1 : 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const now = at(event);
    if (!pointers.has(event.pointerId)) {
      act.hover(...now);
      return;
    }
    const before = pointers.get(event.pointerId);
    const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
    pointers.set(event.pointerId, now);
    travelled += Math.hypot(now[0] - before[0], now[1] - before[1]);
    if (other) pinch(act, before, now, other);
    else if (travelled > CLICK) act.pan(now[0] - before[0], now[1] - before[1]);
  });
  canvas.addEventListener("pointerup", (event) => {
    pointers.delete(event.pointerId);
    if (travelled <= CLICK) act.choose(...at(event));
  });
  canvas.addEventListener("pointercancel", (event) => pointers.delete(event.pointerId));
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      act.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), ...at(event));
    },
    { passive: false },
  );
  canvas.addEventListener("keydown", (event) => onKey(event, act));
}

function at(event) {
  return [event.offsetX, event.offsetY];
}

function pinch(act, before, now, other) {
  const distance = (one) => Math.hypot(one[0] - other[0], one[1] - other[1]) || 1;
  act.zoom(distance(now) / distance(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
}

function onKey(event, act) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const arrow = ARROWS[event.key];
  if (arrow && event.shiftKey) act.pan(-STEP * arrow[0], STEP * arrow[1]);
  else if (arrow) act.step(...arrow);
  else if (event.key === "+" || event.key === "=") act.zoom(ZOOM);
  else if (event.key === "-") act.zoom(1 / ZOOM);
  else if (event.key === "0") act.reset();
  else if (event.key === "Enter") act.take();
  else return;
  event.preventDefault();
}
