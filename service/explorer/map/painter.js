/** Draws the map: all points, then the beams, the history and the list above them. */

const POINT = 3;
const RING = 11;
const DIM = 0.1;

/**
 * Draws one picture.
 * @param {HTMLCanvasElement} canvas
 * @param {Object} picture
 *   camera, points, groups: what is seen, and in which colour;
 *   palette: `groups`, `rest`, `ink`, `surface`, `accent`, `against` as CSS colours;
 *   only: group that alone is bright, or null; survives: whether a point is under a beam, or null;
 *   history, list: item ids; pointed: index of the point with the cursor, or -1.
 */
export function paint(canvas, picture) {
  const { camera } = picture;
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [Math.round(camera.width * ratio), Math.round(camera.height * ratio)];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, camera.width, camera.height);
  paintPoints(context, picture);
  paintHistory(context, picture);
  paintList(context, picture);
  paintCursor(context, picture);
}

/** Returns the index of the point that is nearest to a pixel within a distance, or -1. */
export function nearest({ camera, points }, px, py, within = 14) {
  let best = -1;
  let least = within * within;
  for (let at = 0; at < points.xs.length; at += 1) {
    const [x, y] = camera.toPixel(points.xs[at], points.ys[at]);
    const distance = (x - px) ** 2 + (y - py) ** 2;
    if (distance < least) [best, least] = [at, distance];
  }
  return best;
}

/** Returns the index of the next point from one in a direction (dx, dy), or the same index if there is none. */
export function neighbour({ points }, from, dx, dy) {
  let best = from;
  let least = Infinity;
  for (let at = 0; at < points.xs.length; at += 1) {
    const [x, y] = [points.xs[at] - points.xs[from], points.ys[at] - points.ys[from]];
    const along = x * dx + y * dy;
    const aside = Math.abs(x * dy - y * dx);
    if (at !== from && along > aside && along + 2 * aside < least) [best, least] = [at, along + 2 * aside];
  }
  return best;
}

/** Draws the dim points first, so that they hide no bright one. */
function paintPoints(context, picture) {
  const { camera, points, groups, only, survives } = picture;
  const fit = Math.min(Math.max(camera.width / 800, 0.7), 1);
  const small = fit * POINT * Math.min(1 + Math.log2(camera.zoomed) / 3, 2.2) * (points.xs.length > 3000 ? 0.8 : 1);
  const isBright = (at) => (only === null || groups.groupOf[at] === only) && (survives === null || survives[at]);
  const isSelection = only !== null || survives !== null;
  for (const bright of isSelection ? [false, true] : [true]) {
    const radius = isSelection && bright ? small * 1.4 : small;
    for (let at = 0; at < points.xs.length; at += 1) {
      if (isBright(at) === bright) paintPoint(context, picture, { at, radius, bright });
    }
  }
  context.globalAlpha = 1;
}

function paintPoint(context, { camera, points, groups, palette }, { at, radius, bright }) {
  const [x, y] = camera.toPixel(points.xs[at], points.ys[at]);
  if (x < -radius || y < -radius || x > camera.width + radius || y > camera.height + radius) return;
  const isRest = groups.groupOf[at] === groups.rest;
  context.globalAlpha = bright ? (isRest ? 0.5 : 0.85) : DIM;
  context.fillStyle = isRest ? palette.rest : palette.groups[groups.groupOf[at]];
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fill();
}

function paintHistory(context, { camera, points, palette, history }) {
  const places = placesOf(camera, points, history);
  context.strokeStyle = palette.ink;
  context.globalAlpha = 0.45;
  context.lineWidth = 1.25;
  context.beginPath();
  places.forEach(([x, y], step) => (step ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.stroke();
  context.globalAlpha = 1;
  for (const [x, y, number] of places) {
    context.beginPath();
    context.arc(x, y, RING, 0, 2 * Math.PI);
    badge(context, { x, y, number, back: palette.ink, ink: palette.surface });
  }
}

function paintList(context, { camera, points, palette, list }) {
  for (const [x, y, number] of placesOf(camera, points, list).reverse()) {
    context.beginPath();
    context.roundRect(x - RING + 1, y - RING + 1, 2 * RING - 2, 2 * RING - 2, 4);
    badge(context, { x, y, number, back: palette.accent, ink: palette.accentInk, edge: palette.surface });
  }
}

function badge(context, { x, y, number, back, ink, edge = ink }) {
  context.fillStyle = back;
  context.fill();
  context.strokeStyle = edge;
  context.lineWidth = 1.5;
  context.stroke();
  context.fillStyle = ink;
  context.font = "600 11px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(String(number), x, y + 0.5);
}

function paintCursor(context, { camera, points, palette, pointed }) {
  if (pointed < 0) return;
  const [x, y] = camera.toPixel(points.xs[pointed], points.ys[pointed]);
  context.beginPath();
  context.arc(x, y, RING + 4, 0, 2 * Math.PI);
  context.strokeStyle = palette.against;
  context.lineWidth = 2.5;
  context.stroke();
}

function placesOf(camera, points, ids) {
  return ids
    .map((id, at) => [points.index.get(id), at + 1])
    .filter(([index]) => index !== undefined)
    .map(([index, number]) => [...camera.toPixel(points.xs[index], points.ys[index]), number]);
}
