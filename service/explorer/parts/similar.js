/** Items like one: by what users did, by content, or by the codes that they share. */

import { call, oneAtATime, patiently, wasCancelled } from "../api/client.js";
import { remember, titleOf } from "../api/items.js";
import { button, el, fill } from "../page/dom.js";
import { addToHistory } from "./history_list.js";
import { itemText } from "./item_row.js";

const SHOWN = 6;
const WAYS = { vector: "by behaviour", content: "by content", prefix: "by codes" };
const asking = oneAtATime();
const answers = new Map(); // of one visit, by item and way
let way = "vector";

/** Makes the block for an item. */
export function similarBlock(id) {
  const list = el("div", { class: "similar" });
  const choices = Object.entries(WAYS).map(([name, label]) => {
    const radio = el("input", { type: "radio", name: "similar-by", value: name, checked: name === way });
    radio.addEventListener("change", () => {
      way = name;
      showSimilar(list, id);
    });
    return el("label", {}, radio, el("span", {}, label));
  });
  showSimilar(list, id);
  return [
    el("h3", {}, "Similar items"),
    el("fieldset", { class: "segments" }, el("legend", { class: "only-read" }, "Similar how"), choices),
    list,
  ];
}

async function showSimilar(list, id) {
  const key = `${way} ${id}`;
  try {
    if (!answers.has(key)) {
      const path = `items/${encodeURIComponent(id)}/similar`;
      fill(list, el("p", { class: "muted" }, "Asking for similar items …"));
      const query = { by: way, k: SHOWN };
      const { items } = await asking((signal) => patiently(() => call(path, { query, signal })));
      remember(items);
      answers.set(key, items);
    }
    draw(list, answers.get(key));
  } catch (error) {
    if (!wasCancelled(error))
      fill(list, el("p", { class: "muted" }, `${error.title ?? "Not found"}: ${error.message}`));
  }
}

function draw(list, items) {
  if (!items.length) {
    fill(list, el("p", { class: "muted" }, "None."));
    return;
  }
  const rows = items.map((item) =>
    el(
      "li",
      { class: "small-row" },
      itemText(item),
      button("Add", () => addToHistory(item.item_id), {
        class: "quiet",
        "aria-label": `Add ${titleOf(item)} to the history`,
      }),
    ),
  );
  fill(list, el("ul", { class: "small-rows" }, rows));
}
