/** An item as the page shows it everywhere: its title first, its attributes small below it. */

import { factsOf, isMissing, titleOf } from "../api/items.js";
import { addressOf } from "../page/state.js";
import { el } from "../page/dom.js";

/** Makes title and attributes of an item, as one block of text. */
export function itemText(item) {
  const facts = isMissing(item.item_id) ? "not in the catalogue" : factsOf(item).join(" · ");
  return el(
    "span",
    { class: "item-text" },
    el("span", { class: "item-title" }, titleOf(item)),
    facts ? el("span", { class: "item-facts muted" }, facts) : null,
  );
}

/** Makes a semantic ID as links into the tree of codes: each code opens the node that ends with it. */
export function codeChips(codes) {
  return el(
    "span",
    { class: "chips" },
    codes.map((code, level) =>
      el(
        "a",
        {
          class: `chip level-${level % 4}`,
          href: addressOf({ view: "codes", prefix: codes.slice(0, level + 1), item: null }),
          "aria-label": `Code ${code} of level ${level + 1}: show in the tree`,
        },
        String(code),
      ),
    ),
  );
}
