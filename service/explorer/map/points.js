/** The points of the map, as columns, and what colours them. */

import { call } from "../api/client.js";
import { number } from "../page/format.js";

const SAMPLE = 5000;
const GROUPS = 9; // colours that can be told apart; further values are "other"
const STEPS = 5; // of a number's range

/**
 * Asks for the points: a sample of the catalogue, and the items that must be among them.
 * @param {{attribute: string, items: string[], signal: AbortSignal}} options
 */
export async function readPoints({ attribute, items, signal }) {
  const query = { limit: SAMPLE, items };
  if (attribute) query.attribute = attribute;
  const reply = await call("map", { query, signal });
  return withIndex(reply);
}

/** Adds the items that a sample lacks, such as those of a new list. */
export async function addPoints(points, { attribute, items, signal }) {
  const missing = items.filter((id) => !points.index.has(id));
  if (!missing.length) return points;
  const query = { limit: 1, items: missing }; // the service returns `limit` points beside the items
  if (attribute) query.attribute = attribute;
  const more = await call("map", { query, signal });
  const fresh = more.item_ids.map((id, at) => [id, at]).filter(([id]) => !points.index.has(id));
  const joined = { ...points };
  for (const name of ["item_ids", "xs", "ys", "codes", "values"]) {
    if (points[name]) joined[name] = [...points[name], ...fresh.map(([, at]) => more[name][at])];
  }
  return withIndex(joined);
}

/**
 * Returns for each point whether its semantic ID begins with one of some prefixes.
 * @param {Object} points
 * @param {number[][]} prefixes All of one length. Of that, only as many codes count as the points have.
 */
export function pointsBelow(points, prefixes) {
  const begin = (codes) => [codes].flat().slice(0, prefixes[0]?.length).join("-");
  const depth = [points.codes[0]].flat().length;
  const wanted = new Set(prefixes.map((prefix) => prefix.slice(0, depth).join("-")));
  return points.codes.map((codes) => wanted.has(begin(codes)));
}

/**
 * Sorts the points into groups of one colour.
 * @param {Object} points
 * @param {string} attribute Name of the attribute, or "" for the first code.
 * @param {function(number): string} codeMeaning What a first code stands for.
 * @returns {{labels: string[], groupOf: number[], isOrdered: boolean}} The last label is that of all others.
 */
export function groupPoints(points, attribute, codeMeaning) {
  if (!attribute) {
    const label = (code) => [code, codeMeaning(code)].filter((part) => part !== "").join(" · ");
    return byValue(
      points.codes.map((codes) => [[codes].flat()[0]]),
      label,
    );
  }
  const values = points.values ?? [];
  const numbers = values.filter((value) => typeof value === "number");
  const isNumeric = numbers.length && !values.some((value) => typeof value === "string" || Array.isArray(value));
  return isNumeric
    ? byRange(values, numbers)
    : byValue(
        values.map((value) => [value].flat().filter((one) => one !== null && one !== undefined)),
        String,
      );
}

function byValue(lists, label) {
  const counts = new Map();
  for (const value of lists.flat()) counts.set(value, (counts.get(value) ?? 0) + 1);
  const common = [...counts]
    .sort((one, other) => other[1] - one[1])
    .slice(0, GROUPS)
    .map(([value]) => value);
  const group = new Map(common.map((value, index) => [value, index]));
  // Of several values the rarest counts: it says most about the item.
  const groupOf = lists.map((values) => Math.max(...values.map((value) => group.get(value) ?? -1), -1));
  return finish(common.map(label), groupOf, "other", false);
}

function byRange(values, numbers) {
  const sorted = [...numbers].sort((one, other) => one - other);
  const edges = Array.from(
    { length: STEPS + 1 },
    (_, step) => sorted[Math.min(Math.floor((step * sorted.length) / STEPS), sorted.length - 1)],
  );
  const text = (value) => (Number.isInteger(value) ? String(value) : number(value, 2));
  const labels = edges.slice(0, STEPS).map((edge, step) => `${text(edge)} to ${text(edges[step + 1])}`);
  const groupOf = values.map((value) => {
    if (typeof value !== "number") return -1;
    const step = edges.slice(1).findIndex((edge) => value < edge);
    return step < 0 ? STEPS - 1 : step;
  });
  return finish(labels, groupOf, "unknown", true);
}

function finish(labels, groupOf, restLabel, isOrdered) {
  const rest = labels.length;
  const all = groupOf.map((group) => (group < 0 ? rest : group));
  return { labels: all.includes(rest) ? [...labels, restLabel] : labels, groupOf: all, isOrdered, rest };
}

function withIndex(points) {
  return { ...points, index: new Map(points.item_ids.map((id, at) => [id, at])) };
}
