/** The tree of semantic IDs: level by level, what the items of a node have in common, and its items. */

import { call, oneAtATime, wasCancelled } from "../api/client.js";
import { itemOf, load, titleOf } from "../api/items.js";
import { announce, showProblem } from "../page/announce.js";
import { bar, button, el, fill } from "../page/dom.js";
import { count, number } from "../page/format.js";
import { addressOf, same, state } from "../page/state.js";
import { addToHistory } from "../parts/history_list.js";
import { codeChips, itemText } from "../parts/item_row.js";
import { meaningBlock, meaningLines } from "../parts/meaning.js";

const PAGE = 24;
const CHILDREN_SHOWN = 48;
const asking = oneAtATime();
const paging = oneAtATime();

/** Makes the view and returns the functions that keep it up to date. */
export function makeCodesView(place) {
  const parts = { trail: el("nav", { class: "trail", "aria-label": "Codes so far" }), node: el("div", { id: "node" }) };
  fill(
    place,
    el("div", { class: "codes-view" }, el("h2", {}, "Semantic IDs"), introduction(), parts.trail, parts.node),
  );
  open(parts);
  return {
    onState: async (now, before) => {
      if (same(now.prefix, before.prefix)) return;
      await open(parts);
      parts.node.querySelector("h3")?.focus({ preventScroll: true });
    },
  };
}

function introduction() {
  return el(
    "p",
    { class: "muted lead" },
    "Each item has one code a level. Items that begin with the same codes are alike. " +
      "The model writes the codes of the next item one after the other.",
  );
}

async function open(parts) {
  const { prefix } = state();
  fill(parts.trail, trail(prefix));
  parts.node.setAttribute("aria-busy", "true");
  try {
    const node = await asking((signal) =>
      call(["semantic-ids", prefix.join("-")].filter(Boolean).join("/"), { signal }),
    );
    draw(parts, node, prefix);
    announce(
      `${nameOf(prefix)}: ${count(node.num_items, "item")}, ${count(node.children.length, "code")} on the next level.`,
    );
  } catch (error) {
    if (wasCancelled(error)) return;
    showProblem(parts.node, error, () => open(parts));
  }
  parts.node.setAttribute("aria-busy", "false");
}

function trail(prefix) {
  const step = (length, label) => {
    const isHere = length === prefix.length;
    return el(
      "li",
      {},
      el(
        "a",
        { href: addressOf({ prefix: prefix.slice(0, length) }), "aria-current": isHere ? "location" : null },
        label,
      ),
    );
  };
  return el(
    "ol",
    {},
    step(0, "All items"),
    prefix.map((code, level) => step(level + 1, `${code}`)),
  );
}

function nameOf(prefix) {
  return prefix.length ? `Code ${prefix.join("-")}` : "The whole catalogue";
}

function draw(parts, node, prefix) {
  const items = el("div", { class: "node-items" });
  fill(
    parts.node,
    el(
      "div",
      { class: "node-head" },
      el("h3", { tabindex: "-1" }, nameOf(prefix)),
      el("p", { class: "muted" }, count(node.num_items, "item")),
    ),
    el("div", { class: "node-meaning" }, meaningBlock(node.meaning)),
    node.children.length ? children(node, prefix) : null,
    items,
  );
  if (prefix.length) showItems(items, prefix, 0);
}

function children(node, prefix) {
  const sorted = [...node.children].sort((one, other) => other.num_items - one.num_items);
  const largest = sorted[0].num_items;
  const list = el("ul", { class: "cards" });
  const showUpTo = (most) =>
    fill(
      list,
      sorted.slice(0, most).map((child) => card(child, prefix, largest)),
    );
  showUpTo(CHILDREN_SHOWN);
  const more =
    sorted.length > CHILDREN_SHOWN
      ? button(
          `Show all ${sorted.length} codes`,
          () => {
            showUpTo(sorted.length);
            more.remove();
            list.children[CHILDREN_SHOWN].querySelector("a").focus();
          },
          { class: "quiet" },
        )
      : null;
  return el(
    "section",
    { "aria-label": `Codes of level ${prefix.length + 1}` },
    el("h4", {}, `Level ${prefix.length + 1}: ${count(sorted.length, "code")}, the fullest first`),
    list,
    more,
  );
}

function card(child, prefix, largest) {
  return el(
    "li",
    {},
    el(
      "a",
      { class: "card", href: addressOf({ prefix: [...prefix, child.code] }) },
      el("span", { class: `chip level-${prefix.length % 4}` }, String(child.code)),
      el("span", { class: "card-count" }, count(child.num_items, "item")),
      bar(child.num_items / largest),
      meaningLines(child.meaning).map((line) => el("span", { class: "card-meaning muted" }, line)),
    ),
  );
}

async function showItems(place, prefix, offset) {
  try {
    const page = await paging(async (signal) => {
      const reply = await call(`semantic-ids/${prefix.join("-")}/items`, { query: { offset, limit: PAGE }, signal });
      await load(
        reply.items.map((item) => item.item_id),
        signal,
      );
      return reply;
    });
    drawItems(place, prefix, offset, page);
  } catch (error) {
    if (!wasCancelled(error)) showProblem(place, error, () => showItems(place, prefix, offset));
  }
}

function drawItems(place, prefix, offset, page) {
  const last = offset + page.items.length;
  const rows = page.items.map(({ item_id: id, semantic_id: codes }) => {
    const item = itemOf(id);
    return el(
      "li",
      { class: "small-row" },
      itemText(item),
      codeChips(codes),
      button("Add", () => addToHistory(id), { class: "quiet", "aria-label": `Add ${titleOf(item)} to the history` }),
    );
  });
  fill(
    place,
    el(
      "h4",
      { tabindex: "-1" },
      page.items.length ? `Items ${number(offset + 1)} to ${number(last)} of ${number(page.total)}` : "No items",
    ),
    el("ul", { class: "small-rows wide" }, rows),
    page.total > PAGE
      ? el(
          "p",
          { class: "tools" },
          button("Previous", () => turn(place, prefix, offset - PAGE), { disabled: offset === 0 }),
          button("Next", () => turn(place, prefix, offset + PAGE), { disabled: page.next_offset === null }),
        )
      : null,
  );
}

async function turn(place, prefix, offset) {
  await showItems(place, prefix, offset);
  place.querySelector("h4")?.focus();
}
