/** What a code stands for: the commonest attributes of its items, and their most telling words. */

import { bar, el } from "../page/dom.js";
import { percent } from "../page/format.js";

const ATTRIBUTES_IN_A_LINE = 2;
const WORDS_IN_A_LINE = 3;

/** Returns the commonest attributes and the words as short lines, such as "Comedy 80 %, Romance 40 %". */
export function meaningLines(meaning) {
  const shares = (meaning?.attributes ?? [])
    .slice(0, ATTRIBUTES_IN_A_LINE)
    .map((one) => `${one.value} ${percent(one.share)}`);
  const words = (meaning?.words ?? []).slice(0, WORDS_IN_A_LINE);
  return [shares.join(", "), words.join(", ")].filter(Boolean);
}

/** Makes the full description: a bar for each attribute, and the words. */
export function meaningBlock(meaning) {
  const attributes = meaning?.attributes ?? [];
  const words = meaning?.words ?? [];
  if (!attributes.length && !words.length) return el("p", { class: "muted" }, "Its items have no attribute in common.");
  return el(
    "div",
    { class: "meaning" },
    attributes.length
      ? el(
          "ul",
          { class: "bars" },
          attributes.map(({ name, value, share }) =>
            el(
              "li",
              {},
              el("span", { class: "bar-label" }, el("span", { class: "muted" }, `${name} `), String(value)),
              bar(share),
              el("span", { class: "figure" }, percent(share)),
            ),
          ),
        )
      : null,
    words.length ? el("p", { class: "words" }, el("span", { class: "muted" }, "Words: "), words.join(", ")) : null,
  );
}
