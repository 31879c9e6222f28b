/** Conditions of the list: filters made from the catalogue's attributes, its length, its variety. */

import { call, patiently } from "../api/client.js";
import { button, el, fill } from "../page/dom.js";
import { number } from "../page/format.js";
import { change, onChange, same, SIZES, state } from "../page/state.js";

const MOST_VALUES = 200;
const CAPS = [1, 2, 3, 5];
let attributes = [];
let reading = null;

/** Waits until the attributes of the catalogue are read, once. Without them there are no filters. */
export function attributesRead() {
  reading ??= readAttributes();
  return reading;
}

async function readAttributes() {
  try {
    attributes = (await patiently(() => call("attributes"))).attributes;
  } catch (error) {
    console.debug("the catalogue's attributes are not known", error);
  }
}

/** Returns the attributes whose values are labels, such as genres. */
export function labelAttributes() {
  return attributes.filter((one) => one.kind === "label" && one.values?.length);
}

/** Returns the attributes whose values are numbers, such as years. */
export function numberAttributes() {
  return attributes.filter((one) => one.kind === "number");
}

/** Makes the form, and keeps it as the state says. */
export function makeFilterForm(place) {
  const draw = () => fill(place, chips(), conditions(), listSettings());
  draw();
  attributesRead().then(draw);
  onChange((now, before) => {
    if (["filter", "k", "caps"].some((name) => !same(now[name], before[name]))) draw();
  });
}

function chips() {
  const entries = Object.entries(state().filter);
  if (!entries.length) return null;
  return el(
    "ul",
    { class: "filter-chips", "aria-label": "Filters" },
    entries.map(([name, condition]) =>
      el(
        "li",
        { class: "tag" },
        `${name}: ${describe(condition)}`,
        button("×", () => removeFilter(name), {
          class: "icon",
          "aria-label": `Remove the filter ${name}`,
        }),
      ),
    ),
  );
}

function describe({ any_of: any, none_of: none, gte, lte }) {
  return [
    any ? any.join(" or ") : null,
    none ? `not ${none.join(", ")}` : null,
    gte !== undefined && gte !== null ? `from ${gte}` : null,
    lte !== undefined && lte !== null ? `to ${lte}` : null,
  ]
    .filter(Boolean)
    .join(" ");
}

function removeFilter(name) {
  const { [name]: _, ...filter } = state().filter;
  change({ filter });
  document.getElementById("search-input")?.focus();
}

function conditions() {
  const usable = attributes.filter((one) => (one.kind === "label" && one.values?.length) || one.kind === "number");
  if (!usable.length) return null;
  return el(
    "div",
    { class: "conditions" },
    usable.map((one) => (one.kind === "label" ? labelCondition(one) : numberCondition(one))),
  );
}

function labelCondition({ name, values }) {
  const chosen = state().filter[name]?.any_of ?? [];
  const free = values.filter(({ value }) => !chosen.includes(value)).slice(0, MOST_VALUES);
  const select = el(
    "select",
    { id: `filter-${name}` },
    el("option", { value: "" }, chosen.length ? "or …" : "any"),
    free.map(({ value, count }, index) => el("option", { value: index }, `${value} (${number(count)})`)),
  );
  select.addEventListener("change", () => {
    if (select.value === "") return;
    change({ filter: { ...state().filter, [name]: { any_of: [...chosen, free[Number(select.value)].value] } } });
    document.getElementById(`filter-${name}`)?.focus();
  });
  return el("div", { class: "field" }, el("label", { for: `filter-${name}` }, name), select);
}

function numberCondition({ name, min, max }) {
  const bound = (key, label, placeholder) => {
    const id = `filter-${name}-${key}`;
    const input = el("input", {
      id,
      type: "number",
      step: "any",
      placeholder: placeholder ?? "",
      "aria-label": `${name}, ${label}`,
      value: state().filter[name]?.[key] ?? "",
    });
    input.addEventListener("change", () => {
      setBound(name, key, input.value);
      document.getElementById(id)?.focus();
    });
    return input;
  };
  return el(
    "div",
    { class: "field", role: "group", "aria-label": name },
    el("span", { class: "label", "aria-hidden": "true" }, name),
    el(
      "span",
      { class: "range" },
      bound("gte", "from", min),
      el("span", { "aria-hidden": "true" }, "–"),
      bound("lte", "to", max),
    ),
  );
}

function setBound(name, key, text) {
  const { [name]: former = {}, ...others } = state().filter;
  const { [key]: _, ...rest } = former;
  const condition = text === "" ? rest : { ...rest, [key]: Number(text) };
  change({ filter: Object.keys(condition).length ? { ...others, [name]: condition } : others });
}

function listSettings() {
  return el("div", { class: "conditions" }, sizeSetting(), diversitySetting(), capSetting());
}

function sizeSetting() {
  const select = el(
    "select",
    { id: "list-size" },
    SIZES.map((k) => el("option", { value: k, selected: k === state().k }, String(k))),
  );
  select.addEventListener("change", () => {
    change({ k: Number(select.value) });
    document.getElementById("list-size").focus();
  });
  return el("div", { class: "field" }, el("label", { for: "list-size" }, "Length of the list"), select);
}

function diversitySetting() {
  const slider = el("input", { id: "diversity", type: "range", min: 0, max: 1, step: 0.1, value: state().diversity });
  const shown = el("output", { for: "diversity" }, String(state().diversity));
  slider.addEventListener("input", () => {
    shown.textContent = slider.value;
    change({ diversity: Number(slider.value) }, { replace: true });
  });
  return el("div", { class: "field" }, el("label", { for: "diversity" }, "Variety ", shown), slider);
}

function capSetting() {
  const [attribute] = labelAttributes();
  if (!attribute) return null;
  const id = "cap";
  const now = state().caps[attribute.name] ?? "";
  const select = el(
    "select",
    { id },
    el("option", { value: "" }, "no limit"),
    CAPS.map((most) => el("option", { value: most, selected: most === now }, `${most} of each`)),
  );
  select.addEventListener("change", () => {
    change({ caps: select.value ? { [attribute.name]: Number(select.value) } : {} });
    document.getElementById(id).focus();
  });
  return el("div", { class: "field" }, el("label", { for: id }, `${attribute.name}: at most`), select);
}
