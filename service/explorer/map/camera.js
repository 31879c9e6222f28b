/** Where the map looks: the change between its coordinates and pixels. */

const CLOSEST = 60;
const MARGIN = 28;

/** A camera over a rectangle of the map. */
export class Camera {
  /** @param {{xs: number[], ys: number[]}} points All points that must be in view at first. */
  constructor({ xs, ys }) {
    const [left, right] = bounds(xs);
    const [low, high] = bounds(ys);
    this.center = [(left + right) / 2, (low + high) / 2];
    this.size = [right - left || 1, high - low || 1];
    this.width = this.height = 1;
    this.reset();
  }

  /** Tells the camera how large its canvas is, in CSS pixels. */
  resize(width, height) {
    this.width = width;
    this.height = height;
  }

  /** Shows the whole map. */
  reset() {
    this.zoomed = 1;
    this.looksAt = [...this.center];
  }

  /** Pixels for one unit of the map. */
  get scale() {
    const fitting = Math.min((this.width - 2 * MARGIN) / this.size[0], (this.height - 2 * MARGIN) / this.size[1]);
    return Math.max(fitting, 1e-9) * this.zoomed;
  }

  /** Returns the pixel of a point. */
  toPixel(x, y) {
    return [this.width / 2 + (x - this.looksAt[0]) * this.scale, this.height / 2 - (y - this.looksAt[1]) * this.scale];
  }

  /** Moves the map by pixels. */
  pan(dx, dy) {
    this.looksAt[0] -= dx / this.scale;
    this.looksAt[1] += dy / this.scale;
  }

  /** Zooms by a factor, so that the point below a pixel stays there. */
  zoom(factor, px = this.width / 2, py = this.height / 2) {
    const before = this.scale;
    this.zoomed = Math.min(Math.max(this.zoomed * factor, 1), CLOSEST);
    const moved = 1 / before - 1 / this.scale;
    this.looksAt[0] += (px - this.width / 2) * moved;
    this.looksAt[1] -= (py - this.height / 2) * moved;
    if (this.zoomed === 1) this.looksAt = [...this.center];
  }

  /** Looks at a point, if it is out of sight. */
  follow(x, y) {
    const [px, py] = this.toPixel(x, y);
    if (px < MARGIN || py < MARGIN || px > this.width - MARGIN || py > this.height - MARGIN) this.looksAt = [x, y];
  }
}

function bounds(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return values.length ? [low, high] : [0, 1];
}
