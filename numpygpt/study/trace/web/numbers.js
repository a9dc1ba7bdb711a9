"use strict";
// The data of the page, and arrays as heatmaps.

const data = JSON.parse(document.getElementById("data").textContent);
const single = data.update === null; // one operation alone, without a message
const rowTokens = data.label === null ? data.tokens.slice(0, -1) : data.tokens; // the tokens of an array's N rows

const $ = id => document.getElementById(id);

// Return a new element. Attributes named on… are event listeners; null and false children are left out.
function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(9).filter(child => child !== null && child !== undefined && child !== false));
  return node;
}

const SVG = "http://www.w3.org/2000/svg";
function svg(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes || {}))
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  node.append(...children.flat(9).filter(child => child !== null && child !== undefined && child !== false));
  return node;
}

// Put the reader's place into the address, so that it can be linked. A page in a notebook's frame has no address.
function setAddress(hash) {
  if (location.protocol !== "about:") history.replaceState(null, "", hash);
}

const visible = text => text.replace(/ /g, "␣").replace(/\n/g, "⏎").replace(/\t/g, "⇥").replace(/\r/g, "␍");

function short(x) {
  if (!Number.isFinite(x)) return x > 0 ? "∞" : x < 0 ? "-∞" : "not a number";
  return x === 0 ? "0" : Number(x.toPrecision(4)).toString();
}

// Return the numbers of an array that the page contains: three bytes of each float32, in base 64.
function cells(array) {
  if (array.f) return array.f;
  if ("v" in array) return (array.f = Float64Array.of(Number(array.v)));
  const bytes = atob(array.c), count = bytes.length / 3, view = new DataView(new ArrayBuffer(4));
  array.f = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    for (let byte = 0; byte < 3; byte++) view.setUint8(byte, bytes.charCodeAt(3 * i + byte));
    array.f[i] = view.getFloat32(0);
  }
  return array.f;
}

// The page contains some rows and columns of a large array: their numbers in the whole array.
const rowIndex = (array, r) => (array.ri ? array.ri[r] : r);
const columnIndex = (array, c) => (array.ci ? array.ci[c] : c);

// Whether an array has a row and a column for each token, like attention's weights.
function isTriangle(array) {
  const [rows, columns] = [array.n.at(-2), array.n.at(-1)];
  return array.n.length > 2 && rows === columns && rows === rowTokens.length && rowTokens.length > 1;
}

// ---- heatmaps ----
const color = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const rgb = hex => [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16));

function palette() {
  return { negative: rgb(color("--neg")), zero: rgb(color("--zero")), positive: rgb(color("--pos")), none: rgb(color("--none")) };
}

// The colour of a number: from that of zero to that of its sign, by the square root of its size.
function shade(x, largest, colors) {
  if (!Number.isFinite(x)) return colors.none;
  const part = largest ? Math.sqrt(Math.abs(x) / largest) : 0, end = x < 0 ? colors.negative : colors.positive;
  return colors.zero.map((zero, i) => zero + (end[i] - zero) * part);
}

// Paint one matrix of an array on a canvas, a pixel for each number. Masked places of a triangle are transparent.
function paint(array, slice, canvas) {
  const [, rows, columns] = array.d, all = cells(array), start = slice * rows * columns, colors = palette();
  const largest = all.reduce((top, x) => (Number.isFinite(x) ? Math.max(top, Math.abs(x)) : top), 0);
  const image = new ImageData(columns, rows), triangle = isTriangle(array);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      const x = all[start + r * columns + c];
      const masked = triangle && columnIndex(array, c) > rowIndex(array, r) && (x === 0 || !Number.isFinite(x));
      image.data.set([...shade(x, largest, colors), masked ? 0 : 255], 4 * (r * columns + c));
    }
  }
  canvas.width = columns;
  canvas.height = rows;
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

function histogram(array) {
  const bars = [...array.h].map((height, i) => svg("rect", { x: 4 * i, y: 14 - 1.5 * height, width: 3.4, height: 1.5 * height }));
  return el("span", { class: "hist", "aria-hidden": "true" }, svg("svg", { viewBox: "0 0 64 14", width: 64, height: 14 }, bars));
}

// The numbers of a small array, each on its colour: a table for each matrix of a stack. Those of `wrong` are marked.
function numberTables(array, wrong = []) {
  const [slices, rows, columns] = array.d, all = cells(array), colors = palette();
  const largest = all.reduce((top, x) => Math.max(top, Number.isFinite(x) ? Math.abs(x) : 0), 0);
  const mixed = x => { const [r, g, b] = shade(x, 2.5 * largest, colors).map(Math.round); return `background:rgb(${r} ${g} ${b})`; };
  const bad = new Set(wrong);
  const cell = (x, i) => el("td", { style: mixed(x), class: bad.has(i) ? "bad" : null, title: bad.has(i) ? "wrong" : null }, Number.isFinite(x) ? String(Number(x.toPrecision(3))) : short(x));
  return Array.from({ length: slices }, (_, slice) => el("table", { class: "num" }, Array.from({ length: rows }, (_, r) =>
    el("tr", {}, [...all.slice((slice * rows + r) * columns, (slice * rows + r + 1) * columns)].map((x, c) => cell(x, (slice * rows + r) * columns + c))))));
}

// Show a value: a number, or an array's shape, range and heatmap, which opens the array. One operation's small arrays
// show their numbers. `scope` is for the highlighting of names; without it the name is not one of the code's.
// Beside a wrong array is the right one; `wrong` are its wrong entries.
function value([name, number, right, wrong], scope) {
  if (right !== undefined) return [
    el("div", { class: "wrongs" }, `✗ wrong in ${wrong.length} of ${cells(data.arrays[number]).length} entries`),
    shown(name, number, scope, wrong), shown(`${name}, as it should be`, right, scope)];
  return shown(name, number, scope);
}

function shown(name, number, scope, wrong) {
  const array = data.arrays[number], root = name.replace(/[[,].*/, "");
  const marks = { "data-n": scope === undefined ? null : `${scope}:${root}`, "data-name": root };
  const named = el("span", { class: "name mono" }, name);
  if ("v" in array) return el("div", { class: "v", ...marks }, el("span", {}, named, " = ", el("span", { class: "num" }, array.v)));
  const whole = !array.ri && !array.ci, count = cells(array).length, open = () => openLarge(name, array);
  if (single && whole && count <= (data.own ? 160 : 48))
    return el("button", { class: "v small", type: "button", title: "enlarge", ...marks, onclick: open }, el("span", {}, named, el("span", { class: "shape" }, `  (${array.s})`)), el("span", { class: "tables" }, numberTables(array, wrong)));
  const range = whole && count <= 6 ? ["[" + [...cells(array)].map(short).join(", ") + "]"] : [array.lo, histogram(array), array.hi, el("span", {}, "mean " + array.mean)];
  return el("button", { class: "v", type: "button", title: "enlarge", ...marks, onclick: open },
    el("span", {},
      el("span", {}, named, el("span", { class: "shape" }, `  (${array.s})` + (array.d[0] > 1 ? " head 0" : ""))),
      el("span", { class: "range num" }, range)),
    paint(array, 0, el("canvas", { "aria-hidden": "true" })));
}
