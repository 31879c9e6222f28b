/** The legend of the map: each colour, and a button that leaves only its points bright. */

import { button, el, fill } from "../page/dom.js";
import { number } from "../page/format.js";
import { colorAttribute, palette } from "./color.js";

/**
 * Shows the legend.
 * @param {HTMLElement} place
 * @param {Object} view The map's state: `only` is changed.
 * @param {function} redraw Called after a choice.
 */
export function showLegend(place, view, redraw) {
  const { labels, groupOf, rest } = view.groups;
  const sizes = labels.map((_, group) => groupOf.filter((one) => one === group).length);
  const colors = palette(view.groups.isOrdered);
  const list = el(
    "ul",
    { "aria-label": "Legend" },
    labels.map((label, group) => {
      const swatch = el("span", { class: "swatch", "aria-hidden": "true" });
      swatch.style.background = group === rest ? colors.rest : colors.groups[group];
      return el(
        "li",
        {},
        button(
          [swatch, el("span", {}, label), el("span", { class: "figure muted" }, number(sizes[group]))],
          () => {
            view.only = view.only === group ? null : group;
            showLegend(place, view, redraw);
            place.querySelectorAll("button")[group].focus();
            redraw();
          },
          { class: "quiet", "aria-pressed": String(view.only === group) },
        ),
      );
    }),
  );
  const hasLists = colorAttribute() && view.points.values?.some(Array.isArray);
  fill(
    place,
    list,
    hasLists ? el("p", { class: "muted small" }, "Of several values, the rarest gives the colour.") : null,
  );
}
