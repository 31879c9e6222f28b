/** The search box: words find items while the visitor types; arrow keys choose, Enter adds. */

import { call, oneAtATime, patiently, wasCancelled } from "../api/client.js";
import { remember, titleOf } from "../api/items.js";
import { announce } from "../page/announce.js";
import { el, fill } from "../page/dom.js";
import { count } from "../page/format.js";
import { itemText } from "./item_row.js";

const SHOWN = 8;
const PAUSE_MS = 120;
const searching = oneAtATime();
const MATCHES = { title: "", meaning: "alike in meaning" };

/**
 * Makes the search box.
 * @param {HTMLElement} place
 * @param {function(string)} choose Called with the id of the chosen item.
 */
export function makeSearchBox(place, choose) {
  const input = el("input", {
    id: "search-input",
    type: "search",
    role: "combobox",
    autocomplete: "off",
    spellcheck: "false",
    "aria-expanded": "false",
    "aria-controls": "search-results",
    "aria-autocomplete": "list",
    placeholder: "Title or words",
  });
  const results = el("ul", { id: "search-results", role: "listbox", "aria-label": "Items found", hidden: true });
  fill(
    place,
    el("label", { for: "search-input" }, "Find an item"),
    el("div", { class: "search" }, input, results),
  );
  const box = { input, results, items: [], active: -1, choose, timer: 0 };
  input.addEventListener("input", () => {
    clearTimeout(box.timer);
    box.timer = setTimeout(() => look(box), PAUSE_MS);
  });
  input.addEventListener("focus", makeReady, { once: true });
  input.addEventListener("keydown", (event) => onKey(box, event));
  input.addEventListener("blur", () => close(box));
}

async function look(box) {
  const words = box.input.value.trim();
  if (!words) {
    searching(async () => {});
    close(box);
    return;
  }
  try {
    box.items = await searching((signal) =>
      patiently(
        () => find(words, signal),
        () => wait(box),
      ),
    );
    box.active = box.items.length ? 0 : -1;
    show(box, box.items.length ? null : `Nothing found for “${words}”. Try fewer or other words.`);
    announce(box.items.length ? `${count(box.items.length, "item")} found.` : "Nothing found.");
  } catch (error) {
    if (wasCancelled(error)) return;
    box.items = [];
    show(box, `${error.title ?? "The search failed"}: ${error.message}`);
    announce(`The search failed. ${error.message}`);
  }
}

/** Has the service make its index, for which a large catalogue takes seconds, while the visitor still types. */
function makeReady() {
  call("search", { body: { query: "a", k: 1 } }).catch((error) => console.debug("the search is not ready", error));
}

function wait(box) {
  const note = "The search is being made ready for this catalogue …";
  box.items = [];
  show(box, note);
  announce(note);
}

async function find(words, signal) {
  const reply = await call("search", { body: { query: words, k: SHOWN }, signal });
  remember(reply.items);
  return reply.items;
}

function show(box, note) {
  const rows = box.items.map((item, index) =>
    el(
      "li",
      {
        role: "option",
        id: `search-result-${index}`,
        class: "search-result",
        "aria-selected": String(index === box.active),
        onmousedown: (event) => event.preventDefault(),
        onclick: () => take(box, index),
      },
      itemText(item),
      MATCHES[item.match] ? el("span", { class: "tag" }, MATCHES[item.match]) : null,
    ),
  );
  fill(
    box.results,
    rows.length ? rows : el("li", { role: "option", "aria-disabled": "true", class: "muted note" }, note),
  );
  box.results.hidden = false;
  box.input.setAttribute("aria-expanded", "true");
  point(box);
}

function onKey(box, event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && box.items.length && !box.results.hidden) {
    event.preventDefault();
    box.active = (box.active + step + box.items.length) % box.items.length;
    point(box);
  } else if (event.key === "Enter") {
    event.preventDefault();
    if (box.active >= 0 && !box.results.hidden) take(box, box.active);
    else look(box);
  } else if (event.key === "Escape") {
    if (!box.results.hidden) event.preventDefault();
    close(box);
  }
}

function point(box) {
  [...box.results.children].forEach((row, index) => {
    if (box.items.length) row.setAttribute("aria-selected", String(index === box.active));
    if (index === box.active) row.scrollIntoView({ block: "nearest" });
  });
  if (box.active >= 0) box.input.setAttribute("aria-activedescendant", `search-result-${box.active}`);
  else box.input.removeAttribute("aria-activedescendant");
}

function take(box, index) {
  const item = box.items[index];
  box.input.value = "";
  close(box);
  announce(`${titleOf(item)} added.`);
  box.choose(item.item_id);
}

function close(box) {
  clearTimeout(box.timer);
  box.results.hidden = true;
  box.active = -1;
  box.input.setAttribute("aria-expanded", "false");
  box.input.removeAttribute("aria-activedescendant");
}
