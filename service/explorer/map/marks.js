/**
 * The marks of the history (circles) and of the list (squares). Marks of near points would hide each other, so they
 * are moved apart. A line leads from a moved mark to its point.
 */

const REACH = 11; // from the middle of a mark to its edge, in pixels
const SMALL_REACH = 8;
const MANY = 40; // marks; beyond, they are small
const GAP = 3;
const ROUNDS = 80;
const GOLDEN_ANGLE = 2.4; // radians; directions of marks that coincide

/**
 * Places the marks, so that none hides another.
 * @param {{camera: Camera, points: Object, history: string[], list: string[]}} picture
 * @param {Object[]|null} before The marks of the picture before. At the same scale they keep their places to each other.
 * @returns {Object[]} For each mark `id`, `index` of its point, `number`, `isHistory`, `reach`, `scale`, the offset
 *   `dx`, `dy` from its point, and the pixels `pointX`, `pointY` of the point and `x`, `y` of its middle.
 */
export function placeMarks({ camera, points, history, list }, before = null) {
  const numbered = (ids, isHistory) => ids.map((id, at) => ({ id, number: at + 1, isHistory, dx: 0, dy: 0 }));
  const marks = [...numbered(history, true), ...numbered(list, false)].filter(({ id }) => points.index.has(id));
  const [reach, { scale }] = [marks.length > MANY ? SMALL_REACH : REACH, camera];
  for (const mark of marks) {
    mark.index = points.index.get(mark.id);
    [mark.pointX, mark.pointY] = camera.toPixel(points.xs[mark.index], points.ys[mark.index]);
    Object.assign(mark, { reach, scale });
  }
  if (isLike(marks, before)) marks.forEach((mark, at) => Object.assign(mark, { dx: before[at].dx, dy: before[at].dy }));
  else moveApart(marks, 2 * reach + GAP);
  for (const mark of marks) Object.assign(mark, { x: mark.pointX + mark.dx, y: mark.pointY + mark.dy });
  return marks;
}

/** Returns the mark at a pixel, or undefined. */
export function markAt(marks, x, y) {
  return marks.find((mark) => Math.hypot(mark.x - x, mark.y - y) <= mark.reach);
}

/** Draws the marks. */
export function paintMarks(context, marks, palette) {
  const history = marks.filter((mark) => mark.isHistory);
  paintOrder(context, history, palette);
  for (const mark of marks) paintLeader(context, mark, palette);
  for (const mark of marks) paintMark(context, mark, palette);
}

function isLike(marks, before) {
  if (before?.length !== marks.length) return false;
  return marks.every((mark, at) => {
    const former = before[at];
    return former.id === mark.id && former.isHistory === mark.isHistory && former.scale === mark.scale;
  });
}

/** Moves marks from each other, a little each round, until no two are nearer than a distance. */
function moveApart(marks, distance) {
  marks.forEach((mark, at) => {
    [mark.dx, mark.dy] = [Math.cos(GOLDEN_ANGLE * at) / 2, Math.sin(GOLDEN_ANGLE * at) / 2];
  });
  for (let round = 0, isDone = false; round < ROUNDS && !isDone; round += 1) {
    isDone = true;
    for (let one = 1; one < marks.length; one += 1) {
      for (let other = 0; other < one; other += 1) {
        if (push(marks[one], marks[other], distance)) isDone = false;
      }
    }
  }
}

function push(one, other, distance) {
  const x = one.pointX + one.dx - other.pointX - other.dx;
  const y = one.pointY + one.dy - other.pointY - other.dy;
  if (Math.abs(x) >= distance || Math.abs(y) >= distance) return false;
  const apart = Math.hypot(x, y);
  if (apart >= distance) return false;
  const step = (distance - apart) / 2 / (apart || 1) + 0.01;
  one.dx += x * step;
  one.dy += y * step;
  other.dx -= x * step;
  other.dy -= y * step;
  return true;
}

/** The line through the points of the history, in its order. */
function paintOrder(context, history, palette) {
  context.strokeStyle = palette.ink;
  context.globalAlpha = 0.45;
  context.lineWidth = 1.25;
  context.beginPath();
  history.forEach(({ pointX, pointY }, step) =>
    step ? context.lineTo(pointX, pointY) : context.moveTo(pointX, pointY),
  );
  context.stroke();
  context.globalAlpha = 1;
}

function paintLeader(context, mark, palette) {
  if (Math.hypot(mark.dx, mark.dy) <= mark.reach) return; // the mark is on its point
  const color = mark.isHistory ? palette.ink : palette.accent;
  context.strokeStyle = context.fillStyle = color;
  context.lineWidth = 1.25;
  context.beginPath();
  context.moveTo(mark.pointX, mark.pointY);
  context.lineTo(mark.x, mark.y);
  context.stroke();
  context.beginPath();
  context.arc(mark.pointX, mark.pointY, 3.5, 0, 2 * Math.PI);
  context.fill();
  context.strokeStyle = palette.surface;
  context.stroke();
}

function paintMark(context, { x, y, number, isHistory, reach }, palette) {
  context.beginPath();
  if (isHistory) context.arc(x, y, reach, 0, 2 * Math.PI);
  else context.roundRect(x - reach + 1, y - reach + 1, 2 * reach - 2, 2 * reach - 2, 5);
  context.fillStyle = isHistory ? palette.ink : palette.accent;
  context.fill();
  context.strokeStyle = palette.surface;
  context.lineWidth = 1.5;
  context.stroke();
  context.fillStyle = isHistory ? palette.surface : palette.accentInk;
  context.font = `600 ${reach}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(String(number), x, y + 0.5);
}
