/** What the visitor has chosen. It lives in the URL's fragment, so a link shares it and Back undoes a step. */

export const MAX_HISTORY = 100; // items
export const SIZES = [5, 10, 20, 50, 100]; // items of a list
export const VIEWS = ["list", "codes", "map", "compare", "model"];
const EMPTY = {
  view: "list",
  history: [],
  filter: {},
  k: 10,
  diversity: 0,
  caps: {},
  item: null,
  prefix: [],
  color: "",
};
const listeners = new Set();
let current = EMPTY;

/** Returns the state; it is never changed in place. */
export function state() {
  return current;
}

/** Calls a function with the new and the former state at every change. */
export function onChange(listener) {
  listeners.add(listener);
}

/**
 * Changes a part of the state, and the address of the page with it.
 * @param {Object} change Fields with new values.
 * @param {boolean} replace Whether Back should skip the former state, as after a slider's move.
 */
export function change(change, { replace = false } = {}) {
  const next = { ...current, ...change };
  const address = `#${write(next)}`;
  if (replace) window.history.replaceState(null, "", address);
  else window.history.pushState(null, "", address);
  become(next);
}

/** Reads the state from the address now, and at every later change of the address. */
export function followAddress() {
  current = read(window.location.hash.slice(1));
  for (const name of ["popstate", "hashchange"]) {
    window.addEventListener(name, () => become(read(window.location.hash.slice(1))));
  }
}

/** Returns the address of the page with a part of the state changed, for links. */
export function addressOf(change) {
  return `#${write({ ...current, ...change })}`;
}

/** Returns whether two values say the same. */
export function same(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}

function become(next) {
  const before = current;
  if (same(before, next)) return;
  current = next;
  for (const listener of listeners) listener(next, before);
}

function write(chosen) {
  const fields = new URLSearchParams();
  fields.set("view", chosen.view);
  for (const id of chosen.history) fields.append("h", id);
  for (const name of ["filter", "caps"]) {
    if (Object.keys(chosen[name]).length) fields.set(name, JSON.stringify(chosen[name]));
  }
  if (chosen.k !== EMPTY.k) fields.set("k", chosen.k);
  if (chosen.diversity) fields.set("diversity", chosen.diversity);
  if (chosen.item !== null) fields.set("item", chosen.item);
  if (chosen.prefix.length) fields.set("prefix", chosen.prefix.join("-"));
  if (chosen.color) fields.set("color", chosen.color);
  return fields.toString();
}

function read(fragment) {
  const fields = new URLSearchParams(fragment);
  const view = fields.get("view");
  const k = Number(fields.get("k"));
  const prefix = fields.get("prefix") ?? "";
  return {
    view: VIEWS.includes(view) ? view : EMPTY.view,
    history: [...new Set(fields.getAll("h"))].slice(0, MAX_HISTORY),
    filter: kept(readObject(fields.get("filter")), isCondition),
    k: SIZES.includes(k) ? k : EMPTY.k,
    diversity: Math.min(Math.max(Number(fields.get("diversity")) || 0, 0), 1),
    caps: kept(readObject(fields.get("caps")), Number.isInteger),
    item: fields.get("item"),
    prefix: /^[0-9]{1,9}(-[0-9]{1,9})*$/.test(prefix) ? prefix.split("-").map(Number) : [],
    color: fields.get("color") ?? "",
  };
}

function readObject(text) {
  try {
    const value = JSON.parse(text);
    return isObject(value) ? value : {};
  } catch {
    return {};
  }
}

/** Returns the fields of an object whose values are usable; a link may have been written by hand. */
function kept(object, isUsable) {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => isUsable(value)));
}

function isCondition(value) {
  if (!isObject(value)) return false;
  const lists = [value.any_of, value.none_of].filter(isGiven);
  return lists.every(Array.isArray) && [value.gte, value.lte].filter(isGiven).every(Number.isFinite);
}

function isGiven(value) {
  return value !== undefined && value !== null;
}

function isObject(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}
