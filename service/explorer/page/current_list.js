/** The list of the moment: asked for again at each change of the visitor's choices, with the reasons where wanted. */

import { oneAtATime, wasCancelled } from "../api/client.js";
import { listInputs, recommend } from "../api/recommend.js";
import { onChange, same, state } from "./state.js";

const NOTHING = { reply: null, before: null, problem: null, whyProblem: null, isBusy: false, isExplained: false };
const asking = oneAtATime();
const listeners = new Set();
let current = NOTHING;

/**
 * Returns the list: `reply`, the item ids of the list `before` it, the `problem` that came instead, and `whyProblem`
 * where only the reasons did not come.
 */
export function currentList() {
  return current;
}

/** Calls a function at every change of the list. */
export function onList(listener) {
  listeners.add(listener);
}

/** Asks for the list now, and again whenever the visitor's choices change it. */
export function followChoices() {
  onChange((now, before) => {
    if (!same(listInputs(now), listInputs(before))) refresh();
  });
  refresh();
}

/** Asks for the list again; the request before it is cancelled. */
export function refresh() {
  return ask({ explain: false });
}

/** Asks for the same list with its reasons, unless it has them or they could not be had. */
export function explain({ again = false } = {}) {
  if (current.isExplained || current.isBusy || !current.reply || (current.whyProblem && !again)) return null;
  return ask({ explain: true });
}

async function ask({ explain }) {
  const before = explain ? current.before : (current.reply?.items.map((item) => item.item_id) ?? null);
  become({ ...current, isBusy: true });
  try {
    const reply = await asking((signal) => recommend(state(), { explain, signal }));
    if (explain) Object.assign(reply, timesOf(current.reply));
    become({ ...NOTHING, reply, before, isExplained: explain });
  } catch (error) {
    if (wasCancelled(error)) return;
    const fault = explain ? { whyProblem: error } : { problem: error, isExplained: false };
    become({ ...current, ...fault, isBusy: false });
  }
}

/** Reasons take several searches. The times on the page stay those of the list alone. */
function timesOf({ took_ms, exchange_ms }) {
  return { took_ms, exchange_ms };
}

function become(next) {
  const former = current;
  current = next;
  for (const listener of listeners) listener(next, former);
}
