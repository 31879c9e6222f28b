/** Draws the map: all points, then the marks of the history and the list above them. */

import { paintMarks } from "./marks.js";

const POINT = 3;
const CURSOR = 15;
const DIM = 0.1;

/**
 * Draws one picture.
 * @param {HTMLCanvasElement} canvas
 * @param {Object} picture
 *   camera, points, groups: what is seen, and in which colour;
 *   palette: `groups`, `rest`, `ink`, `surface`, `accent`, `against` as CSS colours;
 *   only: group that alone is bright, or null; survives: whether a point is under a beam, or null;
 *   marks: those of the history and the list, see `placeMarks`; pointed: index of the point with the cursor, or -1.
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
  paintMarks(context, picture.marks, picture.palette);
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

/** Draws a ring around the mark of the pointed item, or around its point. */
function paintCursor(context, { camera, points, marks, palette, pointed }) {
  if (pointed < 0) return;
  const mark = marks.find(({ index }) => index === pointed);
  const [x, y] = mark ? [mark.x, mark.y] : camera.toPixel(points.xs[pointed], points.ys[pointed]);
  context.beginPath();
  context.arc(x, y, CURSOR, 0, 2 * Math.PI);
  context.strokeStyle = palette.against;
  context.lineWidth = 2.5;
  context.stroke();
}
