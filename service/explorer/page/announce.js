/** What the page says aloud (aria-live), and the problems that it shows in words. */

import { button, el, fill } from "./dom.js";

/** Says a sentence to screen readers once they are idle. */
export function announce(text) {
  document.getElementById("status").textContent = text;
}

/**
 * Shows a problem in an element, with what to do and a button that tries again; announced by its role.
 * @param {HTMLElement} place Its content is replaced.
 * @param {Error} problem Best a `Problem` of api/client.js.
 * @param {function} retry Called by the button; left out where trying again cannot help.
 */
export function showProblem(place, problem, retry) {
  const canRetry = retry && problem.retryable !== false;
  fill(
    place,
    el(
      "div",
      { class: "problem", role: "alert" },
      el("strong", {}, problem.title ?? "The page has a fault"),
      el("p", {}, problem.message),
      problem.advice ? el("p", { class: "muted" }, problem.advice) : null,
      canRetry ? button("Try again", retry) : null,
    ),
  );
}

/** Makes the sentence and hint that stand where there is nothing to show. */
export function emptyState(sentence, ...hint) {
  return el(
    "div",
    { class: "empty" },
    el("p", {}, el("strong", {}, sentence)),
    hint.length ? el("p", {}, ...hint) : null,
  );
}
