/** Building blocks of the page: elements made by one function, so that no text is ever read as HTML. */

/**
 * Makes an element.
 * @param {string} tag Name of the element.
 * @param {Object} properties Attributes, and listeners such as `onclick`; null, undefined and false are left out.
 * @param {...(Node|string|null|Array)} children Its content; null and false are left out.
 * @returns {HTMLElement}
 */
export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...shown(children));
  return node;
}

/** Replaces the content of an element. */
export function fill(node, ...children) {
  node.replaceChildren(...shown(children));
  return node;
}

function shown(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

/**
 * Makes a bar whose length shows a share. It says nothing to a screen reader: the figure stands beside it.
 * @param {number} share From 0 to 1.
 * @param {string} kind A class such as `against`, for the colour.
 */
export function bar(share, kind = "") {
  const filled = el("span", { class: "bar-fill" });
  filled.style.width = `${100 * Math.min(Math.max(share, 0), 1)}%`;
  return el("span", { class: `bar ${kind}`.trim(), "aria-hidden": "true" }, filled);
}

/** Makes a button that does not submit. */
export function button(label, onclick, properties = {}) {
  return el("button", { type: "button", onclick, ...properties }, label);
}
