// Elements from data: text goes in as text, never as markup.

export const byId = (id) => document.getElementById(id);

export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export function put(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
}

// Columns: {name, left, wrap, head, opt: left out on a phone}; a cell is a text, a number's text, or a node.
export function table(caption, columns, rows, empty) {
  if (!rows.length) return el("p", { class: "empty" }, empty);
  const kind = (column) => [column.left && "l", column.wrap && "wrap", column.opt && "opt"].filter(Boolean).join(" ") || null;
  const head = el("tr", {}, columns.map((c) => el("th", { scope: "col", class: kind(c) }, c.name, c.unit ? el("small", {}, c.unit) : null)));
  const body = rows.map((row) =>
    el("tr", {}, row.map((cell, i) => (columns[i].head ? el("th", { scope: "row", class: kind(columns[i]) }, cell) : el("td", { class: kind(columns[i]) }, cell)))),
  );
  const whole = el("table", {}, el("caption", {}, caption), el("thead", {}, head), el("tbody", {}, body));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, whole);
}

// Replace a table's place and keep how far it was scrolled, and the focus on it.
export function replace(place, node) {
  const old = place.firstElementChild;
  const left = old ? old.scrollLeft : 0;
  const focused = old !== null && document.activeElement === old;
  put(place, node);
  node.scrollLeft = left;
  if (focused) node.focus();
}

export function tiles(list, items) {
  put(list, items.map(([name, value, unit, more]) =>
    el("div", {}, el("dt", {}, name), el("dd", {}, value, unit ? el("small", {}, ` ${unit}`) : null), more ? el("dd", { class: "more" }, more) : null)));
}
