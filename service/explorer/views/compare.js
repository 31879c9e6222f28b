/** Two models side by side: the same history, answered by the active model and by the canary or shadow beside it. */

import { call, oneAtATime, wasCancelled } from "../api/client.js";
import { titleOf } from "../api/items.js";
import { listInputs, recommend } from "../api/recommend.js";
import { announce, showProblem } from "../page/announce.js";
import { bar, button, el, fill } from "../page/dom.js";
import { chance, milliseconds } from "../page/format.js";
import { same, state } from "../page/state.js";
import { addToHistory } from "../parts/history_list.js";
import { itemText } from "../parts/item_row.js";

const asking = oneAtATime();

/** Makes the view and returns the functions that keep it up to date. */
export function makeCompareView(place) {
  const parts = { result: el("div", { id: "compared", "aria-live": "off" }) };
  fill(place, el("div", { class: "compare-view" }, el("h2", {}, "Two models, one history"), parts.result));
  show(parts);
  return { onState: (now, before) => !same(listInputs(now), listInputs(before)) && show(parts) };
}

async function show(parts) {
  parts.result.setAttribute("aria-busy", "true");
  try {
    await asking(async (signal) => {
      const loaded = Object.entries((await call("readyz", { signal })).models);
      if (loaded.length < 2) {
        fill(parts.result, alone(loaded, () => show(parts)));
        return;
      }
      const lists = await Promise.all(
        loaded.map(async ([role, modelVersion]) => ({ role, ...(await recommend(state(), { modelVersion, signal })) })),
      );
      fill(parts.result, compare(lists));
      announce(overlap(lists));
    });
  } catch (error) {
    if (wasCancelled(error)) return;
    showProblem(parts.result, error, () => show(parts));
  }
  parts.result.setAttribute("aria-busy", "false");
}

function alone([[, version]], lookAgain) {
  return el(
    "div",
    { class: "empty" },
    el("p", {}, el("strong", {}, "One model is loaded")),
    el(
      "p",
      {},
      "It is ",
      el("code", {}, version),
      ". There is a second list once another model is the canary or the shadow: ",
      el("code", {}, "POST /models/{version}/activate"),
      " with ",
      el("code", {}, '{"part": "canary", "percent": 10}'),
      ".",
    ),
    button("Look again", lookAgain),
  );
}

function compare(lists) {
  const ranks = lists.map((list) => new Map(list.items.map((item) => [item.item_id, item.rank])));
  return [
    el("p", { class: "muted" }, overlap(lists)),
    el(
      "div",
      { class: "columns" },
      lists.map((list, index) => column(list, ranks[1 - index])),
    ),
  ];
}

function overlap([one, other]) {
  const theirs = new Set(other.items.map((item) => item.item_id));
  const shared = one.items.filter((item) => theirs.has(item.item_id)).length;
  return `${shared} of ${one.items.length} items are in both lists.`;
}

function column(list, otherRanks) {
  const highest = Math.max(...list.items.map((item) => Math.exp(item.log_prob)));
  return el(
    "section",
    { "aria-label": `List of ${list.model_version}` },
    el("h3", {}, list.model_version),
    el("p", { class: "muted" }, `The ${list.role} model, ${milliseconds(list.took_ms)} in the service`),
    el(
      "ol",
      { class: "rows" },
      list.items.map((item) => {
        const rank = otherRanks.get(item.item_id);
        return el(
          "li",
          { class: `row${rank ? "" : " is-alone"}` },
          el("span", { class: "place" }, String(item.rank)),
          itemText(item),
          el(
            "span",
            { class: "chance" },
            bar(Math.exp(item.log_prob) / highest),
            el("span", { class: "figure" }, chance(Math.exp(item.log_prob))),
          ),
          el("span", { class: "tag" }, rank ? `there ${rank}` : "only here"),
          button("Add", () => addToHistory(item.item_id), {
            class: "add quiet",
            "aria-label": `Add ${titleOf(item)} to the history`,
          }),
        );
      }),
    ),
  );
}
