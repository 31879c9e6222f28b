/** The list: what the model recommends after the history, and how the last click has changed it. */

import { itemOf, titleOf } from "../api/items.js";
import { announce, emptyState, showProblem } from "../page/announce.js";
import { currentList, explain, refresh } from "../page/current_list.js";
import { bar, button, el, fill } from "../page/dom.js";
import { chance, count, milliseconds, number } from "../page/format.js";
import { change, state } from "../page/state.js";
import { addToHistory } from "../parts/history_list.js";
import { codeChips, itemText } from "../parts/item_row.js";
import { closeWhy, showWhy } from "./why.js";

/** Makes the view and returns the functions that keep it up to date. */
export function makeListView(place) {
  const notes = el("div", { class: "notes" });
  const list = el("div", { id: "list" });
  const why = el("section", { id: "why", class: "why", "aria-label": "Why this item", hidden: true });
  const times = el("p", { id: "times", class: "muted" });
  const title = el("h2", { id: "list-title" });
  fill(
    place,
    el(
      "div",
      { class: "list-view" },
      el("section", { "aria-labelledby": "list-title" }, el("div", { class: "heading" }, title, times), notes, list),
      why,
    ),
  );
  const parts = { title, times, notes, list, why };
  draw(parts);
  drawWhy(parts);
  return {
    onList: (now, before) => {
      draw(parts);
      if (now.reply && now.reply !== before.reply && !now.isExplained) announce(summary(now));
      drawWhy(parts);
    },
    onState: (now, before) => now.item !== before.item && onItem(parts, before.item),
  };
}

function draw({ title, times, notes, list }) {
  const { reply, problem, isBusy, before } = currentList();
  list.setAttribute("aria-busy", String(isBusy));
  title.textContent = state().history.length ? "Next for this history" : "Pick something to start";
  if (problem) {
    times.textContent = "";
    fill(notes);
    showProblem(list, problem, refresh);
    return;
  }
  if (!reply) {
    fill(list, el("p", { class: "muted" }, "Asking for the list …"));
    return;
  }
  times.textContent = `${milliseconds(reply.took_ms)} in the service, ${milliseconds(reply.exchange_ms)} in all`;
  fill(
    notes,
    notesOf(reply).map((note) => el("p", {}, note)),
  );
  if (!reply.items.length) {
    fill(list, emptyState("No item is left", "The filters and the history exclude every item. Remove a filter."));
    return;
  }
  const focus = focusWithin(list);
  const highest = Math.max(...reply.items.map((item) => Math.exp(item.log_prob)));
  fill(
    list,
    el(
      "ol",
      { class: "rows" },
      reply.items.map((item) => row(item, highest, before)),
    ),
    footnote(reply),
  );
  focus.restore();
}

/** Remembers which button of the list has the focus: it goes back to the same item, or to the one at its place. */
function focusWithin(list) {
  const { tool } = document.activeElement.dataset;
  const row = list.contains(document.activeElement) && document.activeElement.closest("[data-item]");
  const place = row ? [...row.parentElement.children].indexOf(row) : -1;
  return {
    restore: () => {
      if (!row) return;
      const rows = [...list.querySelectorAll("[data-item]")];
      const next = rows.find((one) => one.dataset.item === row.dataset.item) ?? rows[Math.min(place, rows.length - 1)];
      next?.querySelector(`[data-tool="${tool}"]`)?.focus();
    },
  };
}

function footnote({ fallback }) {
  const text =
    fallback === "popular"
      ? "The figure is the item's share of everything that was chosen in training."
      : "The figure is the probability that this is the next item, over the whole catalogue. " +
        "The order also weighs how close an item is to the history" +
        `${state().diversity ? ", and how unlike the items above it" : ""}.`;
  return el("p", { class: "muted small" }, text);
}

function notesOf(reply) {
  const notes = [];
  if (!state().history.length)
    notes.push("These are the most popular items. Add the ones that you like; the list changes with each.");
  else if (reply.fallback === "popular")
    notes.push("No item of the history is in the catalogue, so these are the most popular items.");
  if (reply.fallback === "degraded")
    notes.push("A part of the service is away, so the list may miss the newest changes of the catalogue.");
  if (reply.unknown_items.length) notes.push(`Not in the catalogue, so skipped: ${reply.unknown_items.join(", ")}.`);
  if (reply.items.length < state().k) {
    const isCapped = Object.values(reply.list_control?.full_values ?? {}).some((values) => values.length);
    notes.push(
      `Only ${count(reply.items.length, "item")}: ${number(reply.eligible_items)} pass the filters and exclusions` +
        `${isCapped ? ", and no other fits under the limit for each value" : ""}.`,
    );
  }
  return notes;
}

function row(item, highest, before) {
  const isOpen = state().item === item.item_id;
  const title = titleOf(item);
  const probability = Math.exp(item.log_prob);
  const node = el(
    "li",
    { class: `row${isOpen ? " is-open" : ""}`, "data-item": item.item_id },
    el("span", { class: "place" }, String(item.rank), moved(item, before)),
    button(itemText(item), () => change({ item: isOpen ? null : item.item_id }), {
      class: "open",
      "data-tool": "open",
      "aria-expanded": String(isOpen),
      "aria-controls": "why",
    }),
    el("span", { class: "chance" }, bar(probability / highest), el("span", { class: "figure" }, chance(probability))),
    codeChips(item.semantic_id),
    button("Add", () => addToHistory(item.item_id), {
      class: "add",
      "data-tool": "add",
      "aria-label": `Add ${title} to the history`,
    }),
  );
  return node;
}

/** Says how an item has moved since the list before. */
function moved(item, before) {
  if (!before) return null;
  const former = before.indexOf(item.item_id) + 1;
  if (!former) return el("span", { class: "moved is-new" }, "new");
  const steps = former - item.rank;
  if (!steps) return null;
  const said = el("span", { class: "only-read" }, steps > 0 ? `up ${steps}` : `down ${-steps}`);
  return el(
    "span",
    { class: "moved" },
    said,
    el("span", { "aria-hidden": "true" }, `${steps > 0 ? "↑" : "↓"}${Math.abs(steps)}`),
  );
}

function summary({ reply, before }) {
  const [first] = reply.items;
  if (!first) return "The list is empty.";
  const fresh = before ? reply.items.filter((item) => !before.includes(item.item_id)).length : 0;
  const changes = before ? ` ${number(fresh)} of them new.` : "";
  return `${count(reply.items.length, "item")} in ${milliseconds(reply.took_ms)}. First: ${titleOf(first)}.${changes}`;
}

function onItem(parts, before) {
  draw(parts);
  drawWhy(parts);
  const { item } = state();
  if (item !== null) parts.why.querySelector("h2")?.focus();
  else if (before !== null) parts.list.querySelector(`[data-item="${CSS.escape(before)}"] [data-tool="open"]`)?.focus();
}

function drawWhy({ why }) {
  const { item } = state();
  const { reply, problem, whyProblem, isBusy, isExplained } = currentList();
  if (item === null) {
    closeWhy(why);
    return;
  }
  const listed = reply?.items.find((one) => one.item_id === item);
  if (!isExplained && !problem && !isBusy && listed) explain();
  showWhy(why, listed ?? { ...itemOf(item), isGone: Boolean(reply) && !isBusy }, {
    isReady: isExplained,
    problem: whyProblem,
    close: () => change({ item: null }),
    add: () => addToHistory(item),
  });
}
