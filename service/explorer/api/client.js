/** Calls the service that serves this page. Faults become a `Problem`, in words for people. */

import { duration } from "../page/format.js";

const ROOT = new URL("../../", import.meta.url);
const LONGEST_WAIT_MS = 20_000;
const MOST_TRIES = 6;
const ADVICE = {
  overloaded: "Many requests are waiting. Try again in a moment.",
  "rate-limited": "Wait a moment, then try again.",
  "not-ready": "The service starts or stops. Try again in some seconds.",
  deadline: "The machine is busy. Try again, or ask for a shorter list.",
  "store-unavailable": "The store of events is away. Lists without a stored user still work.",
  "invalid-request": "Change what is named here, for example by removing a filter.",
  internal: "This is a fault of the service. Its log has the details.",
};

/** A fault with a title, a message, and advice for a person; `wait_s` is the time until a try may succeed, if told. */
export class Problem extends Error {
  /** @param {{title, detail, type, status, retryable, advice, wait_s}} fields As in problem+json; advice: what to do. */
  constructor({ title, detail, type = "unknown", status = 0, retryable = true, advice = null, wait_s = null }) {
    super(detail);
    Object.assign(this, { title, type, status, retryable, wait_s, advice: advice ?? ADVICE[type] ?? null });
  }
}

/**
 * Calls the service and returns its JSON. A call over the rate limit waits as the service says, and goes on.
 * @param {string} path Relative to the root of the service, such as "recommend".
 * @param {{body, query, signal}} options A body makes it a POST; the signal cancels it.
 * @throws {Problem} If the service answers with an error or not at all.
 * @throws {DOMException} Named AbortError, if the signal has cancelled the call.
 */
export async function call(path, options = {}) {
  const reply = await send(path, options);
  try {
    return await reply.json();
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    // Browsers resolve ".." in a path, so the id of an item may lead to another page.
    throw new Problem({ title: "The service has no such thing", detail: `${path} leads to another page.`, status: 404 });
  }
}

/** Calls the service and returns its answer as text; see `call`. */
export async function callText(path, options = {}) {
  const reply = await send(path, options);
  return reply.text();
}

/** Returns the address of a path of the service, for links. */
export function address(path) {
  return new URL(path, ROOT).href;
}

/** Returns whether an error only says that a newer call has replaced this one. */
export function wasCancelled(error) {
  return error?.name === "AbortError";
}

/**
 * Makes a function that runs one piece of work at a time: a new one cancels the one before.
 * @returns {function(function(AbortSignal): Promise): Promise}
 */
export function oneAtATime() {
  let controller = null;
  return (work) => {
    controller?.abort();
    controller = new AbortController();
    return work(controller.signal);
  };
}

/**
 * Does a piece of work again while its deadline passes. The service makes some indexes at their first use, for which a
 * large catalogue takes some seconds.
 * @param {function(): Promise} work
 * @param {function} onWait Called before each further try.
 */
export async function patiently(work, onWait = () => {}) {
  for (let left = MOST_TRIES; ; left -= 1) {
    try {
      return await work();
    } catch (error) {
      if (error.type !== "deadline" || left === 1) throw error;
      onWait();
    }
  }
}

/** Sends a request, again and again while it is over the rate limit and the wait is short. */
async function send(path, options) {
  const end = performance.now() + LONGEST_WAIT_MS;
  for (;;) {
    try {
      return await sendOnce(path, options);
    } catch (error) {
      const wait = 1000 * (error.wait_s ?? Infinity);
      if (error.type !== "rate-limited" || performance.now() + wait > end) throw error;
      await pause(wait, options.signal);
    }
  }
}

/** Waits, unless the signal cancels it. */
function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop, { once: true });
    setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
  });
}

async function sendOnce(path, { body, query = {}, signal }) {
  const url = new URL(path, ROOT);
  for (const [name, value] of Object.entries(query)) {
    for (const one of [value].flat()) url.searchParams.append(name, one);
  }
  const limit = AbortSignal.timeout(LONGEST_WAIT_MS);
  const options = {
    signal: signal ? AbortSignal.any([signal, limit]) : limit,
    headers: { accept: "application/json" },
  };
  if (body !== undefined) {
    options.method = "POST";
    options.headers["content-type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let reply;
  try {
    reply = await fetch(url, options);
  } catch (error) {
    if (wasCancelled(error)) throw error;
    throw unreachable(error);
  }
  if (!reply.ok) throw await readProblem(reply);
  return reply;
}

function unreachable(error) {
  const late = error.name === "TimeoutError";
  return new Problem({
    title: late ? "The service needs too long" : "The service does not answer",
    detail: late ? `No answer came within ${LONGEST_WAIT_MS / 1000} seconds.` : "The connection could not be made.",
    type: late ? "deadline" : "unreachable",
    advice: late ? null : "Check that the service runs and that this machine reaches it, then try again.",
  });
}

async function readProblem(reply) {
  const wait = Number(reply.headers.get("retry-after")) || null; // a date instead of seconds is not understood
  const unexplained = {
    title: "The service answered with an error",
    detail: `Status ${reply.status}, without an explanation.`,
  };
  let fields = {};
  try {
    fields = await reply.json();
  } catch {
    // a proxy's page
  }
  return new Problem({
    ...unexplained,
    ...fields,
    status: reply.status,
    advice: wait ? `Try again in ${duration(wait)}.` : null,
    wait_s: wait,
  });
}
