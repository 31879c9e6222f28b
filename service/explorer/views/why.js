/** Why an item is in the list: what the history contributed, and what its codes stand for. */

import { attributesOf, itemOf, titleOf } from "../api/items.js";
import { showProblem } from "../page/announce.js";
import { explain } from "../page/current_list.js";
import { bar, button, el, fill } from "../page/dom.js";
import { chance, signed } from "../page/format.js";
import { state } from "../page/state.js";
import { codeChips } from "../parts/item_row.js";
import { meaningLines } from "../parts/meaning.js";
import { similarBlock } from "../parts/similar.js";

/** Hides the panel. */
export function closeWhy(place) {
  place.hidden = true;
  fill(place);
}

/**
 * Shows the panel of an item.
 * @param {HTMLElement} place
 * @param {Object} item An item of the list, with `explanation` once the reasons are there.
 * @param {{isReady: boolean, problem: Error, close: function, add: function}} context
 */
export function showWhy(place, item, { isReady, problem, close, add }) {
  const hadFocus = place.contains(document.activeElement);
  place.hidden = false;
  fill(
    place,
    el(
      "div",
      { class: "why-head" },
      el("h2", { tabindex: "-1" }, titleOf(item)),
      button("×", close, { class: "icon", "aria-label": "Close" }),
    ),
    facts(item),
    el("p", { class: "tools" }, state().history.includes(item.item_id) ? null : button("Add to the history", add)),
    item.isGone ? el("p", { class: "muted" }, "It is not in the list any more.") : reasons(item, { isReady, problem }),
    similarBlock(item.item_id),
  );
  place.onkeydown = (event) => {
    if (event.key === "Escape") close();
  };
  if (hadFocus) place.querySelector("h2").focus({ preventScroll: true });
}

function facts(item) {
  const rows = attributesOf(item).map(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]);
  const codes = item.semantic_id ? [el("dt", {}, "semantic ID"), el("dd", {}, codeChips(item.semantic_id))] : [];
  return el("dl", { class: "facts" }, rows, codes, el("dt", {}, "id"), el("dd", {}, item.item_id));
}

function reasons(item, { isReady, problem }) {
  if (problem) {
    const place = el("div", {});
    showProblem(place, problem, () => explain({ again: true }));
    return place;
  }
  if (!isReady) return el("p", { class: "muted", "aria-busy": "true" }, "Asking for the reasons …");
  const { history = [], levels = [] } = item.explanation ?? {};
  return [
    el("h3", {}, "What in the history speaks for it"),
    history.length
      ? contributions(history)
      : el("p", { class: "muted" }, "Nothing: it is here because many choose it."),
    levels.length ? [el("h3", {}, "Its codes, level by level"), codeLevels(levels)] : null,
  ];
}

function contributions(history) {
  const largest = Math.max(...history.map((one) => Math.abs(one.contribution)), 1e-9);
  const sorted = [...history].sort((one, other) => other.contribution - one.contribution);
  return [
    el(
      "ul",
      { class: "bars" },
      sorted.map(({ item_id: id, contribution, shared }) =>
        el(
          "li",
          {},
          el("span", { class: "bar-label" }, titleOf(itemOf(id)), sharedTags(shared)),
          bar(Math.abs(contribution) / largest, contribution < 0 ? "against" : ""),
          el("span", { class: "figure" }, signed(contribution)),
        ),
      ),
    ),
    el(
      "p",
      { class: "muted small" },
      "How much the score of this item falls if that item is left out; below zero, it rises.",
    ),
  ];
}

function sharedTags(shared) {
  const values = Object.values(shared ?? {}).flat();
  return values.length ? el("span", { class: "muted shared" }, `both: ${values.join(", ")}`) : null;
}

/** Says what the items below a code have in common; if nothing is known of that, what the code is there for. */
function whatItMeans({ meaning, log_prob: logProb }, { isLast }) {
  const lines = meaningLines(meaning);
  if (lines.length) return lines.join(" · ");
  let purpose = "one item, or items with nothing in common";
  if (isLast) purpose = "tells apart items with the same codes before it";
  if (logProb === 0) purpose = "no other code is likely here";
  return el("span", { class: "muted" }, purpose);
}

function codeLevels(levels) {
  return [
    el(
      "ol",
      { class: "bars levels" },
      levels.map((one, level) =>
        el(
          "li",
          {},
          el(
            "span",
            { class: "bar-label" },
            el("span", { class: `chip level-${level % 4}` }, String(one.code)),
            " ",
            whatItMeans(one, { isLast: level > 0 && level === levels.length - 1 }),
          ),
          bar(Math.exp(one.log_prob)),
          el(
            "span",
            { class: "figure" },
            chance(Math.exp(one.log_prob)),
            el("span", { class: "muted log" }, `ln ${signed(one.log_prob)}`),
          ),
        ),
      ),
    ),
    el(
      "p",
      { class: "muted small" },
      "The model writes one code after the other. The figures are the probability of a code after those before it, " +
        "and its natural logarithm.",
    ),
  ];
}
