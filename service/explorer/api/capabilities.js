/** Which routes and fields this service has. The page hides a part that the service cannot fill. */

import { call } from "./client.js";

const DOCUMENT = "openapi.json";
let paths = null;
let fields = null;

/** Reads the service's own description. Without it, the page assumes that every part is there. */
export async function discover() {
  try {
    const description = await call(DOCUMENT);
    paths = new Set(Object.keys(description.paths));
    fields = new Set(Object.keys(description.components.schemas.RecommendRequest.properties));
  } catch {
    paths = fields = null;
  }
}

/** Returns whether the service has a route, by its path in the description, such as "/items/{item_id}/similar". */
export function hasRoute(path) {
  return paths === null || paths.has(path);
}

/** Returns whether POST /recommend takes a field. */
export function recommendTakes(field) {
  return fields === null || fields.has(field);
}
