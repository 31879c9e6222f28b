/** The map of the catalogue: items that are alike lie close; the history, the list and the beams are drawn on it. */

import { call, oneAtATime, wasCancelled } from "../api/client.js";
import { isKnown, itemOf, load, titleOf } from "../api/items.js";
import { beamChoice } from "../map/beam_choice.js";
import { Camera } from "../map/camera.js";
import { colorAttribute, colorChoice, palette } from "../map/color.js";
import { listen } from "../map/gestures.js";
import { showLegend } from "../map/legend.js";
import { markAt, placeMarks } from "../map/marks.js";
import { nearest, neighbour, paint } from "../map/painter.js";
import { addPoints, groupPoints, pointsBelow, readPoints } from "../map/points.js";
import { announce, showProblem } from "../page/announce.js";
import { currentList, explain } from "../page/current_list.js";
import { button, el, fill } from "../page/dom.js";
import { number } from "../page/format.js";
import { state } from "../page/state.js";
import { attributesRead } from "../parts/filter_form.js";
import { addToHistory } from "../parts/history_list.js";
import { itemText } from "../parts/item_row.js";
import { meaningLines } from "../parts/meaning.js";

const LABEL =
  "Map of the catalogue. Arrow keys go from item to item, Enter adds one to the history, " +
  "plus and minus zoom, zero shows all.";
const asking = oneAtATime();
const adding = oneAtATime();
const naming = oneAtATime();

/** Makes the view and returns the functions that keep it up to date. */
export function makeMapView(place) {
  const view = {
    canvas: el("canvas", {
      id: "map-canvas",
      tabindex: "0",
      role: "application",
      "aria-roledescription": "map",
      "aria-label": LABEL,
    }),
    name: el("div", { class: "map-name", hidden: true }),
    problem: el("div"),
    legend: el("div", { class: "legend" }),
    tools: el("div", { class: "map-tools" }),
    lead: el("p", { class: "muted lead" }),
    points: null,
    groups: null,
    camera: null,
    meanings: new Map(),
    only: null,
    level: null,
    wantsBeams: false,
    survived: null,
    marks: [],
    frame: null,
    pointed: -1,
  };
  fill(place, frame(view));
  const resized = new ResizeObserver(() => draw(view));
  resized.observe(view.canvas);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const redraw = () => show(view);
  dark.addEventListener("change", redraw);
  listen(view.canvas, gestures(view));
  read(view);
  return {
    onList: () => {
      if (view.wantsBeams) explain();
      complete(view);
    },
    onState: (now, before) => (now.color === before.color ? draw(view) : read(view)),
    end: () => {
      resized.disconnect();
      dark.removeEventListener("change", redraw);
    },
  };
}

function frame(view) {
  const zoom = [
    button("+", () => act(view, (camera) => camera.zoom(1.5)), { class: "icon", "aria-label": "Zoom in" }),
    button("−", () => act(view, (camera) => camera.zoom(1 / 1.5)), { class: "icon", "aria-label": "Zoom out" }),
    button("Show all", () => act(view, (camera) => camera.reset()), { class: "quiet" }),
  ];
  return el(
    "div",
    { class: "map-view" },
    el("h2", {}, "Map of the catalogue"),
    view.lead,
    view.tools,
    view.problem,
    el(
      "div",
      { class: "map-frame" },
      el("div", { class: "map-stage" }, view.canvas, view.name, el("div", { class: "map-zoom" }, zoom)),
      view.legend,
    ),
  );
}

async function read(view) {
  view.canvas.setAttribute("aria-busy", "true");
  try {
    await attributesRead();
    await asking(async (signal) => {
      const [points] = await Promise.all([
        readPoints({ attribute: colorAttribute(), items: shownIds(), signal }),
        readMeanings(view, signal),
      ]);
      view.camera ??= new Camera(points);
      Object.assign(view, { points, only: null, pointed: -1 });
    });
    fill(view.problem);
    show(view);
    complete(view); // the list may have come while the points were read
  } catch (error) {
    if (!wasCancelled(error)) showProblem(view.problem, error, () => read(view));
  }
  view.canvas.setAttribute("aria-busy", "false");
}

/** Reads what the first codes stand for, for the legend. */
async function readMeanings(view, signal) {
  if (colorAttribute() || view.meanings.size) return;
  const root = await call("semantic-ids", { signal });
  view.meanings = new Map(root.children.map((child) => [child.code, meaningLines(child.meaning)[0] ?? ""]));
}

function shownIds() {
  return [...state().history, ...(currentList().reply?.items ?? []).map((item) => item.item_id)];
}

/** Adds the points of a new list that the sample lacks, and draws. */
async function complete(view) {
  const { points } = view;
  if (!points) return; // read() comes here once it has them
  try {
    const joined = await adding((signal) =>
      addPoints(points, { attribute: colorAttribute(), items: shownIds(), signal }),
    );
    if (view.points === points) view.points = joined;
  } catch (error) {
    if (wasCancelled(error)) return;
  }
  show(view);
}

function show(view) {
  if (!view.points) return;
  view.groups = groupPoints(view.points, colorAttribute(), (code) => view.meanings.get(code) ?? "");
  const shown = `${number(view.points.item_ids.length)} of ${number(view.points.num_items)} items`;
  view.lead.textContent =
    `${shown}; those that are alike lie close. Circles are the history in its order, squares the list. ` +
    "A mark without room at its point has a line to it.";
  fill(
    view.tools,
    colorChoice(),
    beamChoice(view, () => draw(view)),
  );
  showLegend(view.legend, view, () => draw(view));
  draw(view);
}

/** Draws at the next frame, once, however often it is asked for. */
function draw(view) {
  view.frame ??= requestAnimationFrame(() => {
    view.frame = null;
    drawNow(view);
  });
}

function drawNow(view) {
  const { width, height } = view.canvas.getBoundingClientRect();
  if (!view.groups || !width) return;
  view.camera.resize(width, height);
  const list = (currentList().reply?.items ?? []).map((item) => item.item_id);
  view.marks = placeMarks({ ...view, history: state().history, list }, view.marks);
  paint(view.canvas, { ...view, palette: palette(view.groups.isOrdered), survives: survivors(view) });
  placeName(view);
}

/** Returns which points the beams of the chosen level have left, or null where no level is chosen. */
function survivors(view) {
  const prefixes = view.level === null ? null : currentList().reply?.beams?.[view.level];
  if (!prefixes) return null;
  const { points, survived } = view;
  if (survived?.prefixes !== prefixes || survived.points !== points) {
    view.survived = { prefixes, points, mask: pointsBelow(points, prefixes) };
  }
  return view.survived.mask;
}

function act(view, work) {
  if (!view.camera) return;
  work(view.camera);
  draw(view);
}

function gestures(view) {
  return {
    pan: (dx, dy) => act(view, (camera) => camera.pan(dx, dy)),
    zoom: (factor, x, y) => act(view, (camera) => camera.zoom(factor, x, y)),
    reset: () => act(view, (camera) => camera.reset()),
    hover: (x, y) => view.points && point(view, at(view, x, y), { isQuiet: true }),
    choose: (x, y) => view.points && point(view, at(view, x, y, 20), { isQuiet: false }),
    step: (dx, dy) => view.points && step(view, dx, dy),
    take: () => view.pointed >= 0 && addToHistory(view.points.item_ids[view.pointed]),
  };
}

/** Returns the point whose mark is at a pixel, or else the nearest point within a distance, or -1. */
function at(view, x, y, within) {
  return markAt(view.marks, x, y)?.index ?? nearest(view, x, y, within);
}

function step(view, dx, dy) {
  const start =
    view.pointed >= 0 ? view.pointed : nearest(view, view.camera.width / 2, view.camera.height / 2, Infinity);
  const next = view.pointed >= 0 ? neighbour(view, start, dx, dy) : start;
  view.camera.follow(view.points.xs[next], view.points.ys[next]);
  point(view, next, { isQuiet: false });
}

/** Puts the cursor on a point and shows its name, which may have to be asked for. */
async function point(view, index, { isQuiet }) {
  if (index < 0 && isQuiet) return;
  if (index === view.pointed && isQuiet) return;
  view.pointed = index;
  draw(view);
  if (index < 0) return;
  const id = view.points.item_ids[index];
  try {
    if (!isKnown(id)) await naming((signal) => load([id], signal));
  } catch (error) {
    if (wasCancelled(error)) return;
  }
  if (view.pointed !== index) return;
  placeName(view);
  if (!isQuiet) announce(`${titleOf(itemOf(id))}. Enter adds it to the history.`);
}

function placeName(view) {
  const { pointed, points, camera, name } = view;
  name.hidden = pointed < 0;
  if (pointed < 0) return;
  const id = points.item_ids[pointed];
  const [x, y] = camera.toPixel(points.xs[pointed], points.ys[pointed]);
  if (name.dataset.id !== id || name.dataset.known !== String(isKnown(id))) {
    Object.assign(name.dataset, { id, known: String(isKnown(id)) });
    fill(
      name,
      itemText(itemOf(id)),
      state().history.includes(id)
        ? null
        : button("Add", () => addToHistory(id), { "aria-label": `Add ${titleOf(itemOf(id))} to the history` }),
    );
  }
  name.classList.toggle("is-left", x > camera.width / 2);
  name.classList.toggle("is-above", y > camera.height / 2);
  name.style.left = `${x}px`;
  name.style.top = `${y}px`;
}
