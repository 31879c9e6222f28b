/** The table of a model's accuracy at its training, beside simple models. */

import { el } from "../page/dom.js";
import { number } from "../page/format.js";

const OWN = "rqrec";
const LENGTH = 10; // of the lists that the figures are about
const NAMES = {
  [OWN]: "This model",
  "item-kNN": "What was chosen by the same users",
  popularity: "What is chosen most",
  "recent popularity": "What was chosen most lately",
  "own most frequent": "The user's own items, the commonest first",
  "own most recent": "The user's own items, the latest first",
};

/**
 * Makes the table, or says that there is none.
 * @param {{metrics: Object, refit: boolean}} evaluation An answer of GET /models/{version}/evaluation.
 */
export function accuracyTable({ metrics, refit }) {
  return [el("h3", {}, "Accuracy"), metrics[OWN] ? figures(metrics, refit) : notMeasured()];
}

function notMeasured() {
  return el("p", { class: "muted" }, "It was not measured: the data has no user with items enough.");
}

function figures(metrics, refit) {
  return [
    el(
      "p",
      { class: "muted lead" },
      `In training, the next item of ${number(metrics[OWN].users)} users was hidden. How often a list has it, ` +
        "for this model and for simple ways to choose:",
    ),
    el(
      "table",
      { class: "figures" },
      el("thead", {}, el("tr", {}, ["List", `In the first ${LENGTH}`, "Weighted by rank"].map(heading))),
      el(
        "tbody",
        {},
        Object.keys(NAMES)
          .filter((name) => metrics[name])
          .map((name) => row(name, metrics[name])),
      ),
    ),
    el(
      "p",
      { class: "muted small" },
      `The columns are Recall@${LENGTH} and NDCG@${LENGTH}; in the second, a hit counts less the lower it stands. ` +
        `Intervals, and more figures, are in the report.${refit ? " Later the model learnt the hidden items too." : ""}`,
    ),
  ];
}

function heading(text) {
  return el("th", { scope: "col" }, text);
}

function row(name, found) {
  return el(
    "tr",
    { class: name === OWN ? "is-own" : null },
    el("th", { scope: "row" }, NAMES[name]),
    el("td", {}, `${(100 * found[`recall@${LENGTH}`]).toFixed(1)} %`),
    el("td", {}, found[`ndcg@${LENGTH}`].toFixed(3)),
  );
}
