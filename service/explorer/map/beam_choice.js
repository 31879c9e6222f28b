/** The choice of a level of the search, whose beams' items stay bright on the map. */

import { announce } from "../page/announce.js";
import { currentList, explain } from "../page/current_list.js";
import { button, el } from "../page/dom.js";
import { state } from "../page/state.js";

/**
 * Makes the choice, or a button that asks for the beams where the list came without.
 * @param {Object} view The map's state: `level` and `wantsBeams` are changed.
 * @param {function} redraw Called after a choice.
 */
export function beamChoice(view, redraw) {
  const beams = currentList().reply?.beams;
  if (!beams?.length) {
    view.level = null;
    return canHaveBeams(view) ? button("Show the beams", () => wantBeams(view), { class: "quiet" }) : null;
  }
  const choice = (level, label) => {
    const radio = el("input", {
      type: "radio",
      name: "beam-level",
      value: level ?? "none",
      checked: view.level === level,
    });
    radio.addEventListener("change", () => {
      view.level = level;
      redraw();
      announce(
        level === null
          ? "All items."
          : `${beams[level].length} beams survived level ${level + 1}; their items stay bright.`,
      );
    });
    return el("label", {}, radio, el("span", {}, label));
  };
  const levels = beams.map((beam, level) => choice(level, `level ${level + 1} (${beam.length})`));
  return el(
    "fieldset",
    { class: "segments" },
    el("legend", {}, "Beams that survived"),
    choice(null, "all items"),
    levels,
  );
}

/** Beams come with the reasons of a list, which take several searches, so they are asked for by a button. */
function canHaveBeams(view) {
  return !view.wantsBeams && state().history.length > 0;
}

function wantBeams(view) {
  view.wantsBeams = true;
  view.tools.querySelector("select").focus();
  explain();
}
