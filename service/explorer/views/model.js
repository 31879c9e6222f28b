/** What the service tells everybody of the active model: its accuracy, its codes, and the links to report and routes. */

import { address, call, callText, wasCancelled } from "../api/client.js";
import { accuracyTable } from "../parts/accuracy_table.js";
import { showProblem } from "../page/announce.js";
import { bar, el, fill } from "../page/dom.js";
import { number, percent } from "../page/format.js";

/** Makes the view. */
export function makeModelView(place) {
  const figures = el("div", { "aria-busy": "true" });
  fill(place, el("div", { class: "model-view" }, el("h2", {}, "The model"), figures));
  read(figures);
  return {};
}

async function read(place) {
  try {
    const [ready, metrics] = await Promise.all([call("readyz"), readMetrics()]);
    const evaluation = await call(`models/${encodeURIComponent(ready.model_version)}/evaluation`);
    fill(place, facts(ready, evaluation, metrics), accuracyTable(evaluation), codebooks(metrics), links(ready));
  } catch (error) {
    if (!wasCancelled(error)) showProblem(place, error, () => read(place));
  }
  place.setAttribute("aria-busy", "false");
}

/** Reads the metrics, which a proxy may keep from this page; then there are none. */
async function readMetrics() {
  try {
    return parseMetrics(await callText("metrics"));
  } catch {
    return new Map();
  }
}

/** Parses Prometheus' text format: values by name and label, as written. */
function parseMetrics(text) {
  const lines = text.split("\n").filter((line) => line && !line.startsWith("#"));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ") + 1))]),
  );
}

function facts(ready, evaluation, metrics) {
  const items = metrics.get("rqrec_catalogue_items");
  const collisions = metrics.get("rqrec_model_collision_ratio");
  const rows = [
    ["Version", ready.model_version],
    ["Published", day(evaluation.created_at)],
    evaluation.learnt_until ? ["Knows what users chose until", day(evaluation.learnt_until)] : null,
    ["Changes of the catalogue since it was published", number(ready.catalogue_version)],
    items === undefined ? null : ["Items that can be recommended", number(items)],
    collisions === undefined ? null : ["Items that share all other codes with another one", percent(collisions)],
  ].filter(Boolean);
  return el(
    "dl",
    { class: "facts" },
    rows.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]),
  );
}

function day(time) {
  return time.slice(0, 10);
}

function codebooks(metrics) {
  const name = /^rqrec_model_codebook_usage_ratio\{level="(\d+)"\}$/;
  const levels = [...metrics]
    .map(([key, share]) => [key.match(name)?.[1], share])
    .filter(([level]) => level !== undefined);
  if (!levels.length) return null;
  return [
    el("h3", {}, "Codes in use, by level"),
    el(
      "ul",
      { class: "bars" },
      levels.map(([level, share]) =>
        el(
          "li",
          {},
          el("span", { class: "bar-label" }, `Level ${Number(level) + 1}`),
          bar(share),
          el("span", { class: "figure" }, percent(share)),
        ),
      ),
    ),
  ];
}

function links(ready) {
  const report = `models/${encodeURIComponent(ready.model_version)}/report`;
  return el(
    "ul",
    { class: "links" },
    el("li", {}, el("a", { href: address(report) }, "Report of its training")),
    el("li", {}, el("a", { href: address("docs") }, "Every route of the service")),
    el("li", {}, el("a", { href: address("metrics") }, "All metrics")),
  );
}
