// Make elements, and format figures for people. Text is set as text, so nothing that is shown can become markup.

const SVG = "http://www.w3.org/2000/svg";

/** Make an element. Attributes go by name, and `on…` adds a listener. Null children are left out. */
export const h = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);

/** Make an SVG element in the same way. */
export const s = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(element.style, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...present(children));
  return element;
}

/** Replace the content of an element. */
export function show(place, ...children) {
  place.replaceChildren(...present(children));
}

const present = (children) => children.flat(Infinity).filter((child) => child !== null && child !== undefined);

/** Make a choice. Options are texts by value. `changed` gets the chosen value. */
export function select(name, options, value, changed) {
  const element = h(
    "select",
    { "aria-label": name, onchange: () => changed(element.value) },
    Object.entries(options).map(([key, text]) => h("option", { value: key }, text)),
  );
  element.value = value;
  return element;
}

/** Show a value as JSON, folded away. */
export const json = (value) =>
  h("details", {}, h("summary", {}, "JSON"), h("pre", {}, JSON.stringify(value, null, 2)));

/** Make a table. Columns: `[head, cell of a row, whether it is a number]`. `open` makes rows clickable. */
export function table(columns, rows, open) {
  const head = columns.map(([name, , number]) => h("th", { class: number ? "n" : null }, name));
  const body = rows.map((row) => {
    const cells = columns.map(([, cell, number]) => h("td", { class: number ? "n" : null }, cell(row)));
    if (!open) return h("tr", {}, cells);
    const pressed = (event) => { if (event.key === "Enter") open(row); };
    return h("tr", { tabindex: 0, onclick: () => open(row), onkeydown: pressed }, cells);
  });
  return h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, head)), h("tbody", {}, body)));
}

/** Draw a bar for a share, with a mark at the share that it must reach. */
export function meter(share, mark, name) {
  const below = mark !== null && share < mark;
  return h(
    "div",
    { class: below ? "meter below" : "meter", role: "img", "aria-label": name },
    h("i", { style: { width: `${100 * Math.min(share, 1)}%` } }),
    mark === null ? null : h("b", { style: { left: `${100 * Math.min(mark, 1)}%` } }),
  );
}

export const percent = (share) => (share === null ? "–" : `${(100 * share).toFixed(share && share < 0.1 ? 1 : 0)}%`);
export const count = (number) => number.toLocaleString("en");
export const ms = (time) => (time === null || time === undefined ? "–" : `${time.toFixed(time < 10 ? 1 : 0)} ms`);
export const when = (seconds) => new Date(1000 * seconds).toLocaleString();
export const chip = (text) => h("span", { class: `chip ${text}` }, text);

/** Format US dollars: with two decimals, or with more for small amounts. */
export function usd(amount) {
  if (amount === null || amount === undefined) return "–";
  const digits = amount === 0 || Math.abs(amount) >= 1 ? 2 : Math.min(10, 1 - Math.floor(Math.log10(Math.abs(amount))));
  return `$${amount.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: Math.max(2, digits) })}`;
}

/** A number and what it counts, in the singular or the plural. */
export const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
