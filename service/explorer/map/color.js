/** What gives the points of the map their colour, and the colours. */

import { change, state } from "../page/state.js";
import { el } from "../page/dom.js";
import { labelAttributes, numberAttributes } from "../parts/filter_form.js";

const FIRST_CODE = "code"; // what the address says where the first code gives the colour
const GROUPS = 9;

/** Returns the name of the attribute that gives the colour, or "" for the first code. */
export function colorAttribute() {
  const { color } = state();
  if (color === FIRST_CODE) return "";
  return color || labelAttributes()[0]?.name || "";
}

/** Makes the choice of what gives the colour. */
export function colorChoice() {
  const attributes = [...labelAttributes(), ...numberAttributes()].map((one) => one.name);
  const now = colorAttribute() || FIRST_CODE;
  const select = el(
    "select",
    { id: "map-color" },
    attributes.map((name) => el("option", { value: name, selected: name === now }, name)),
    el("option", { value: FIRST_CODE, selected: now === FIRST_CODE }, "first code"),
  );
  select.addEventListener("change", () => {
    change({ color: select.value });
    document.getElementById("map-color")?.focus();
  });
  return el("div", { class: "field inline" }, el("label", { for: "map-color" }, "Colour"), select);
}

/**
 * Returns the colours of the theme, for a canvas.
 * @param {boolean} isOrdered Whether the groups are steps of a range.
 */
export function palette(isOrdered) {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(`--${name}`).trim();
  const kind = isOrdered ? "step" : "group";
  return {
    groups: Array.from({ length: GROUPS }, (_, index) => color(`${kind}-${index + 1}`)),
    rest: color("rest"),
    ink: color("ink"),
    surface: color("surface"),
    accent: color("accent"),
    accentInk: color("accent-ink"),
    against: color("against"),
  };
}
