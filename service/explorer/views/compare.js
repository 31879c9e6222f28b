/** Two models side by side: the same history, answered by the active model and by a canary. */

import { call, oneAtATime, Problem, wasCancelled } from "../api/client.js";
import { titleOf } from "../api/items.js";
import { listInputs, recommend } from "../api/recommend.js";
import { announce, showProblem } from "../page/announce.js";
import { bar, button, el, fill } from "../page/dom.js";
import { chance, milliseconds } from "../page/format.js";
import { same, state } from "../page/state.js";
import { addToHistory } from "../parts/history_list.js";
import { itemText } from "../parts/item_row.js";

const MOST_KEYS = 64;
const AT_ONCE = 4;
const asking = oneAtATime();
let keys = null; // routing key by model version, found by trying

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
      keys ??= await findKeys(signal);
      if (keys.size < 2) {
        fill(parts.result, alone(parts));
        return;
      }
      const lists = await Promise.all(
        [...keys.values()].map((routingKey) => recommend(state(), { routingKey, signal })),
      );
      if (new Set(lists.map((list) => list.model_version)).size < lists.length) keys = null; // a switch of models
      fill(parts.result, compare(lists));
      announce(overlap(lists));
    });
  } catch (error) {
    if (wasCancelled(error)) return;
    showProblem(parts.result, error, () => show(parts));
  }
  parts.result.setAttribute("aria-busy", "false");
}

/**
 * Finds a routing key for each model that answers. A routing key decides which model answers, and no request can name
 * a model. So keys are tried, with an empty history, which needs no search.
 */
async function findKeys(signal) {
  const found = new Map();
  const tries = Array.from({ length: MOST_KEYS }, (_, index) => `explorer-${index}`);
  const worker = async () => {
    for (let key = tries.shift(); key !== undefined && found.size < 2; key = tries.shift()) {
      const reply = await call("recommend", { body: { history: [], k: 1, routing_key: key }, signal });
      if (!found.has(reply.model_version)) found.set(reply.model_version, key);
    }
  };
  const [first] = await Promise.allSettled(Array.from({ length: AT_ONCE }, worker));
  if (!found.size) throw first.reason ?? new Problem({ title: "No model answered", detail: "Try again later." });
  return found;
}

function alone(parts) {
  const [version] = keys.keys();
  return el(
    "div",
    { class: "empty" },
    el("p", {}, el("strong", {}, "One model answers")),
    el(
      "p",
      {},
      `All ${MOST_KEYS} routing keys that were tried came to `,
      el("code", {}, version),
      ". There is a second list once another model is the canary: ",
      el("code", {}, "POST /models/{version}/activate"),
      " with ",
      el("code", {}, '{"part": "canary", "percent": 10}'),
      ".",
    ),
    button("Look again", () => {
      keys = null;
      show(parts);
    }),
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
    el("p", { class: "muted" }, `${milliseconds(list.took_ms)} in the service`),
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
