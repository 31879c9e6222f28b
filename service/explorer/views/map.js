/** The map of the catalogue: items that are alike lie close; the history, the list and the beams are drawn on it. */

import { call, oneAtATime, wasCancelled } from "../api/client.js";
import { hasRoute } from "../api/capabilities.js";
import { isKnown, itemOf, load, titleOf } from "../api/items.js";
import { Camera } from "../map/camera.js";
import { listen } from "../map/gestures.js";
import { nearest, neighbour, paint } from "../map/painter.js";
import { addPoints, beginsWith, groupPoints, readPoints } from "../map/points.js";
import { announce, showProblem } from "../page/announce.js";
import { currentList, explain } from "../page/current_list.js";
import { button, el, fill } from "../page/dom.js";
import { number } from "../page/format.js";
import { change, state } from "../page/state.js";
import { labelAttributes, numberAttributes } from "../parts/filter_form.js";
import { addToHistory } from "../parts/history_list.js";
import { itemText } from "../parts/item_row.js";
import { meaningLines } from "../parts/meaning.js";

const FIRST_CODE = "code"; // what the address says where the first code gives the colour
const asking = oneAtATime();
const adding = oneAtATime();
const naming = oneAtATime();

/** Makes the view and returns the functions that keep it up to date. */
export function makeMapView(place) {
  const view = {
    canvas: el("canvas", { id: "map-canvas", tabindex: "0", role: "application", "aria-roledescription": "map", "aria-label": "Map of the catalogue. Arrow keys go from item to item, Enter adds one to the history, plus and minus zoom, zero shows all." }),
    name: el("div", { class: "map-name", hidden: true }),
    problem: el("div"), legend: el("div", { class: "legend" }), tools: el("div", { class: "map-tools" }), lead: el("p", { class: "muted lead" }),
    points: null, groups: null, camera: null, meanings: new Map(), only: null, level: null, pointed: -1,
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
      explain();
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
    "div", { class: "map-view" },
    el("h2", {}, "Map of the catalogue"), view.lead, view.tools, view.problem,
    el("div", { class: "map-frame" }, el("div", { class: "map-stage" }, view.canvas, view.name, el("div", { class: "map-zoom" }, zoom)), view.legend),
  );
}

function colorAttribute() {
  const { color } = state();
  if (color === FIRST_CODE) return "";
  return color || labelAttributes()[0]?.name || "";
}

async function read(view) {
  view.canvas.setAttribute("aria-busy", "true");
  try {
    await asking(async (signal) => {
      const [points] = await Promise.all([readPoints({ attribute: colorAttribute(), items: shownIds(), signal }), readMeanings(view, signal)]);
      view.camera ??= new Camera(points);
      Object.assign(view, { points, only: null, pointed: -1 });
    });
    fill(view.problem);
    explain();
    show(view);
  } catch (error) {
    if (!wasCancelled(error)) showProblem(view.problem, error, () => read(view));
  }
  view.canvas.setAttribute("aria-busy", "false");
}

/** Reads what the first codes stand for, for the legend. */
async function readMeanings(view, signal) {
  if (colorAttribute() || view.meanings.size || !hasRoute("/semantic-ids")) return;
  const root = await call("semantic-ids", { signal });
  view.meanings = new Map(root.children.map((child) => [child.code, meaningLines(child.meaning)[0] ?? ""]));
}

function shownIds() {
  return [...state().history, ...(currentList().reply?.items ?? []).map((item) => item.item_id)];
}

/** Adds the points of a new list that the sample lacks, and draws. */
async function complete(view) {
  if (!view.points) return;
  try {
    view.points = await adding((signal) => addPoints(view.points, { attribute: colorAttribute(), items: shownIds(), signal }));
  } catch (error) {
    if (wasCancelled(error)) return;
  }
  show(view);
}

function show(view) {
  if (!view.points) return;
  view.groups = groupPoints(view.points, colorAttribute(), (code) => view.meanings.get(code) ?? "");
  view.lead.textContent = `${number(view.points.item_ids.length)} of ${number(view.points.num_items)} items; those that are alike lie close. Circles are the history in its order, squares the list.`;
  fill(view.tools, colorChoice(), beamChoice(view));
  fill(view.legend, legend(view));
  draw(view);
}

function colorChoice() {
  const attributes = [...labelAttributes(), ...numberAttributes()].map((one) => one.name);
  const now = colorAttribute() || FIRST_CODE;
  const select = el(
    "select", { id: "map-color" },
    attributes.map((name) => el("option", { value: name, selected: name === now }, name)),
    el("option", { value: FIRST_CODE, selected: now === FIRST_CODE }, "first code"),
  );
  select.addEventListener("change", () => {
    change({ color: select.value });
    document.getElementById("map-color")?.focus();
  });
  return el("div", { class: "field inline" }, el("label", { for: "map-color" }, "Colour"), select);
}

function beamChoice(view) {
  const beams = currentList().reply?.beams;
  if (!beams?.length) {
    view.level = null;
    return null;
  }
  const choice = (level, label) => {
    const radio = el("input", { type: "radio", name: "beam-level", value: level ?? "none", checked: view.level === level });
    radio.addEventListener("change", () => {
      view.level = level;
      draw(view);
      announce(level === null ? "All items." : `${beams[level].length} beams survived level ${level + 1}; their items stay bright.`);
    });
    return el("label", {}, radio, el("span", {}, label));
  };
  const levels = beams.map((beam, level) => choice(level, `level ${level + 1} (${beam.length})`));
  return el("fieldset", { class: "segments" }, el("legend", {}, "Beams that survived"), choice(null, "all items"), levels);
}

function legend(view) {
  const { labels, groupOf, rest } = view.groups;
  const sizes = labels.map((_, group) => groupOf.filter((one) => one === group).length);
  const list = el(
    "ul", { "aria-label": "Legend" },
    labels.map((label, group) => {
      const swatch = el("span", { class: "swatch", "aria-hidden": "true" });
      swatch.style.background = group === rest ? palette(view).rest : palette(view).groups[group];
      return el("li", {}, button([swatch, el("span", {}, label), el("span", { class: "figure muted" }, number(sizes[group]))], () => {
        view.only = view.only === group ? null : group;
        fill(view.legend, legend(view));
        view.legend.querySelectorAll("button")[group].focus();
        draw(view);
      }, { class: "quiet", "aria-pressed": String(view.only === group) }));
    }),
  );
  const hasLists = colorAttribute() && view.points.values?.some(Array.isArray);
  return [list, hasLists ? el("p", { class: "muted small" }, "Of several values, the rarest gives the colour.") : null];
}

function palette(view) {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(`--${name}`).trim();
  const kind = view.groups.isOrdered ? "step" : "group";
  return {
    groups: Array.from({ length: 9 }, (_, index) => color(`${kind}-${index + 1}`)),
    rest: color("rest"), ink: color("ink"), surface: color("surface"), accent: color("accent"), accentInk: color("accent-ink"), against: color("against"),
  };
}

function draw(view) {
  if (!view.points || !view.groups) return;
  const { width, height } = view.canvas.getBoundingClientRect();
  if (!width) return;
  view.camera.resize(width, height);
  const { reply } = currentList();
  const prefixes = view.level === null ? null : reply?.beams?.[view.level];
  const survives = prefixes ? view.points.codes.map((codes) => prefixes.some((prefix) => beginsWith(codes, prefix))) : null;
  paint(view.canvas, { ...view, palette: palette(view), survives, history: state().history, list: (reply?.items ?? []).map((item) => item.item_id) });
  placeName(view);
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
    hover: (x, y) => view.points && point(view, nearest(view, x, y), { isQuiet: true }),
    leave: () => {},
    choose: (x, y) => view.points && point(view, nearest(view, x, y, 20), { isQuiet: false }),
    step: (dx, dy) => view.points && step(view, dx, dy),
    take: () => view.pointed >= 0 && addToHistory(view.points.item_ids[view.pointed]),
  };
}

function step(view, dx, dy) {
  const start = view.pointed >= 0 ? view.pointed : nearest(view, view.camera.width / 2, view.camera.height / 2, Infinity);
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
    fill(name, itemText(itemOf(id)), state().history.includes(id) ? null : button("Add", () => addToHistory(id), { "aria-label": `Add ${titleOf(itemOf(id))} to the history` }));
  }
  name.classList.toggle("is-left", x > camera.width / 2);
  name.classList.toggle("is-above", y > camera.height / 2);
  name.style.left = `${x}px`;
  name.style.top = `${y}px`;
}
