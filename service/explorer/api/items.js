/** Items by id: those that any answer has shown are remembered, others are asked for, a few at a time. */

import { call, Problem, wasCancelled } from "./client.js";

const MOST_REMEMBERED = 5000;
const AT_ONCE = 6;
const LONGEST_TEXT = 60;
const known = new Map();
const missing = new Set(); // ids that the catalogue did not hold when they were asked for

/** Remembers the items of an answer: objects with `item_id`, `payload` and perhaps `semantic_id`. */
export function remember(items) {
  for (const { item_id, payload, semantic_id } of items) {
    known.delete(item_id);
    missing.delete(item_id);
    known.set(item_id, { item_id, payload: payload ?? {}, semantic_id });
  }
  for (const id of known.keys()) {
    if (known.size <= MOST_REMEMBERED) break;
    known.delete(id);
  }
}

/** Returns a remembered item, or one of which only the id is known. */
export function itemOf(id) {
  return known.get(id) ?? { item_id: id, payload: {} };
}

/** Returns whether an item is remembered. */
export function isKnown(id) {
  return known.has(id);
}

/** Returns whether the catalogue does not hold an item. */
export function isMissing(id) {
  return missing.has(id);
}

/** Returns the title of an item: its attribute `title`, else `name`, else its id. */
export function titleOf(item) {
  return String(item.payload?.title ?? item.payload?.name ?? item.item_id);
}

/** Returns the attributes of an item that fit on a line, as text, without the title. */
export function factsOf(item) {
  return Object.entries(item.payload ?? {})
    .filter(([name]) => name !== titleAttribute(item))
    .map(([, value]) => asText(value))
    .filter((text) => text && text.length <= LONGEST_TEXT);
}

/** Returns the attributes of an item as pairs of name and text, without the title. */
export function attributesOf(item) {
  return Object.entries(item.payload ?? {})
    .filter(([name, value]) => name !== titleAttribute(item) && asText(value))
    .map(([name, value]) => [name, asText(value)]);
}

/**
 * Asks for the items that are not remembered. `isMissing` then tells which of them the catalogue does not hold.
 * @param {string[]} ids
 * @param {AbortSignal} signal
 */
export async function load(ids, signal) {
  const wanted = ids.filter((id) => !known.has(id) && !missing.has(id));
  const worker = async () => {
    for (let id = wanted.shift(); id !== undefined; id = wanted.shift()) {
      try {
        remember([await call(`items/${encodeURIComponent(id)}`, { signal })]);
      } catch (error) {
        if (wasCancelled(error) || !(error instanceof Problem) || error.status !== 404) throw error;
        missing.add(id);
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

function titleAttribute(item) {
  return item.payload?.title !== undefined && item.payload.title !== null ? "title" : "name";
}

function asText(value) {
  if (value === null || value === undefined) return "";
  return Array.isArray(value) ? value.join(", ") : typeof value === "object" ? JSON.stringify(value) : String(value);
}
