/** The request for a list, made from the visitor's choices, and the lists that were read. */

import { call } from "./client.js";
import { remember } from "./items.js";

// All lists of one visit come from the same model where a canary runs.
const VISIT = `explorer-${crypto.getRandomValues(new Uint32Array(2)).join("-")}`;

/**
 * Asks for a list.
 * @param {Object} chosen The state of the page.
 * @param {{explain: boolean, modelVersion: string, signal: AbortSignal}} options A version names the model that answers.
 * @returns {Promise<Object>} The reply, and `exchange_ms`, the time of the whole exchange.
 */
export async function recommend(chosen, { explain = false, modelVersion, signal } = {}) {
  const body = { history: chosen.history, k: chosen.k };
  if (modelVersion) body.model_version = modelVersion;
  else body.routing_key = VISIT;
  if (Object.keys(chosen.filter).length) body.filter = chosen.filter;
  if (explain) body.explain = true;
  if (chosen.diversity) body.diversity = chosen.diversity;
  if (Object.keys(chosen.caps).length) body.caps = chosen.caps;
  const begin = performance.now();
  const reply = await call("recommend", { body, signal });
  remember(reply.items);
  return { ...reply, exchange_ms: performance.now() - begin };
}

/** Returns the part of the state that decides about a list. */
export function listInputs({ history, filter, k, diversity, caps }) {
  return { history, filter, k, diversity, caps };
}
