/** The explorer: puts the parts of the page together and changes between its views. */

import { announce } from "./page/announce.js";
import { currentList, followChoices, onList } from "./page/current_list.js";
import { el, fill } from "./page/dom.js";
import { addressOf, followAddress, onChange, same, state, VIEWS } from "./page/state.js";
import { makeFilterForm } from "./parts/filter_form.js";
import { addToHistory, showHistory } from "./parts/history_list.js";
import { makeSearchBox } from "./parts/search_box.js";
import { makeCodesView } from "./views/codes.js";
import { makeCompareView } from "./views/compare.js";
import { makeListView } from "./views/list.js";
import { makeMapView } from "./views/map.js";
import { makeModelView } from "./views/model.js";

const NAMES = { list: "List", codes: "Codes", map: "Map", compare: "Compare", model: "Model" };
const MAKERS = {
  list: makeListView,
  codes: makeCodesView,
  map: makeMapView,
  compare: makeCompareView,
  model: makeModelView,
};
const WIDE = "(min-width: 64rem)";
const content = document.getElementById("content");
let view = {};

function start() {
  followAddress();
  makeSearchBox(document.getElementById("search"), addToHistory);
  makeFilterForm(document.getElementById("filters"));
  document.getElementById("settings").open = window.matchMedia(WIDE).matches;
  document.getElementById("share").addEventListener("click", share);
  document.querySelector(".skip").addEventListener("click", skip);
  showHistory(document.getElementById("history"));
  showView();
  onChange(onState);
  onList((now, before) => {
    view.onList?.(now, before);
    showModel();
  });
  followChoices();
}

function onState(now, before) {
  if (!same(now.history, before.history)) showHistory(document.getElementById("history"));
  showNavigation();
  if (now.view === before.view) {
    view.onState?.(now, before);
    return;
  }
  showView();
  content.focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

function showView() {
  view.end?.();
  showNavigation();
  const name = state().view;
  view = MAKERS[name](content);
  document.body.dataset.view = name;
  document.title = `${NAMES[name]} – RQRec explorer`;
}

function showNavigation() {
  const links = VIEWS.map((name) =>
    el(
      "li",
      {},
      el(
        "a",
        { href: addressOf({ view: name, item: null }), "aria-current": name === state().view ? "page" : null },
        NAMES[name],
      ),
    ),
  );
  const list = document.getElementById("views");
  const focused = [...list.querySelectorAll("a")].indexOf(document.activeElement);
  fill(list, links);
  if (focused >= 0) list.querySelectorAll("a")[focused]?.focus();
}

function showModel() {
  const version = currentList().reply?.model_version;
  if (version) document.getElementById("model-line").textContent = version;
}

async function share() {
  const address = window.location.href;
  try {
    await navigator.clipboard.writeText(address);
    announce("The link is copied.");
    document.getElementById("share").textContent = "Link copied";
  } catch {
    window.prompt("Copy this link:", address); // a page without https may not use the clipboard
  }
}

function skip(event) {
  event.preventDefault(); // the fragment holds the state
  content.focus();
}

start();
