/** The history: the items that the visitor has chosen, oldest first, to reorder and to remove. */

import { announce, emptyState } from "../page/announce.js";
import { button, el, fill } from "../page/dom.js";
import { count } from "../page/format.js";
import { change, MAX_HISTORY, same, state } from "../page/state.js";
import { itemOf, load, titleOf } from "../api/items.js";
import { itemText } from "./item_row.js";
import { oneAtATime, wasCancelled } from "../api/client.js";

const loading = oneAtATime();
let dragged = null;

/** Adds an item at the end of the history. */
export function addToHistory(id) {
  const { history } = state();
  if (history.includes(id)) {
    announce(`${titleOf(itemOf(id))} is in the history already.`);
    return;
  }
  if (history.length >= MAX_HISTORY) {
    announce(`A history of this page has at most ${MAX_HISTORY} items. Remove one first.`);
    return;
  }
  change({ history: [...history, id], item: null });
}

/**
 * Shows the history, and asks for the titles that are not known yet.
 * @param {HTMLElement} place
 */
export function showHistory(place) {
  draw(place);
  const { history } = state();
  loading((signal) => load(history, signal)).then(
    () => same(history, state().history) && refreshTitles(place),
    (error) => wasCancelled(error) || console.debug("titles are missing", error),
  );
}

function draw(place) {
  const { history } = state();
  if (!history.length) {
    fill(place, emptyState("No history yet", "Find items above, or pick from the list."));
    return;
  }
  fill(
    place,
    el(
      "ol",
      { class: "history", id: "history-items" },
      history.map((id, position) => row(id, position, history.length, place)),
    ),
    el(
      "div",
      { class: "tools" },
      el(
        "span",
        { class: "muted" },
        history.length > 1 ? `${count(history.length, "item")}, the oldest first` : "1 item",
      ),
      button("Clear", () => clear(place), { class: "quiet" }),
    ),
  );
}

function row(id, position, length, place) {
  const item = itemOf(id);
  const title = titleOf(item);
  const node = el(
    "li",
    { class: "history-item", draggable: "true" },
    el("span", { class: "place", "aria-hidden": "true" }, String(position + 1)),
    itemText(item),
    el(
      "span",
      { class: "row-tools" },
      button("↑", () => move(place, position, position - 1, "up"), {
        class: "icon up",
        "aria-label": `Move ${title} up`,
        disabled: position === 0,
      }),
      button("↓", () => move(place, position, position + 1, "down"), {
        class: "icon down",
        "aria-label": `Move ${title} down`,
        disabled: position === length - 1,
      }),
      button("×", () => remove(place, position), { class: "icon remove", "aria-label": `Remove ${title}` }),
    ),
  );
  makeDraggable(node, position, place);
  return node;
}

function makeDraggable(node, position, place) {
  node.addEventListener("dragstart", (event) => {
    dragged = position;
    event.dataTransfer.effectAllowed = "move";
    event.dataTransfer.setData("text/plain", String(position));
    node.classList.add("is-dragged");
  });
  node.addEventListener("dragend", () => {
    dragged = null;
    node.classList.remove("is-dragged");
  });
  node.addEventListener("dragover", (event) => {
    if (dragged === null) return;
    event.preventDefault();
    node.classList.add("is-target");
  });
  node.addEventListener("dragleave", () => node.classList.remove("is-target"));
  node.addEventListener("drop", (event) => {
    event.preventDefault();
    if (dragged !== null && dragged !== position) move(place, dragged, position, null);
  });
}

function move(place, from, to, tool) {
  const history = [...state().history];
  const [id] = history.splice(from, 1);
  history.splice(to, 0, id);
  change({ history });
  announce(`${titleOf(itemOf(id))} is now number ${to + 1}.`);
  if (tool) focusTool(place, to, tool);
}

function remove(place, position) {
  const history = state().history.filter((_, index) => index !== position);
  change({ history, item: null });
  if (history.length) focusTool(place, Math.min(position, history.length - 1), "remove");
  else document.getElementById("search-input")?.focus();
}

function clear() {
  change({ history: [], item: null });
  document.getElementById("search-input")?.focus();
}

/** Keeps the keyboard's place: the focus goes to the same tool of a row, or to the other arrow at the ends. */
function focusTool(place, position, tool) {
  const buttons = [...place.querySelectorAll(".history-item")[position].querySelectorAll("button")];
  const wanted =
    buttons.find((one) => one.classList.contains(tool) && !one.disabled) ?? buttons.find((one) => !one.disabled);
  wanted?.focus();
}

/** Writes titles into the rows that stand, so that the focus stays where it is. */
function refreshTitles(place) {
  state().history.forEach((id, position) => {
    const node = place.querySelectorAll(".history-item")[position];
    const title = titleOf(itemOf(id));
    node?.querySelector(".item-text").replaceWith(itemText(itemOf(id)));
    node?.querySelector(".up").setAttribute("aria-label", `Move ${title} up`);
    node?.querySelector(".down").setAttribute("aria-label", `Move ${title} down`);
    node?.querySelector(".remove").setAttribute("aria-label", `Remove ${title}`);
  });
}
