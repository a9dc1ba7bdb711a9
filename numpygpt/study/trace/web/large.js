// An array, enlarged: the reader chooses a cell and reads its number. Wide arrays scroll, their row names stay.

const FONT = "12px ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace";
const CELL = { width: [9, 34], height: [11, 26] }; // from, to
let big = null; // {name, array, slice, r, c} and where its cells are: {top, width, height}

function openLarge(name, array) {
  const slices = array.d[0];
  big = { name, array, slice: 0, r: 0, c: 0 };
  $("lname").replaceChildren(el("span", { class: "mono" }, name), `  (${array.s})`);
  const options = Array.from({ length: slices }, (_, i) => el("option", { value: i }, String(i)));
  const choice = el("select", { id: "lslice", onchange: event => { big.slice = Number(event.target.value); drawLarge(); } }, options);
  $("lstack").replaceChildren(...(slices < 2 ? [] : [el("label", {}, array.n.length > 3 || isTriangle(array) ? "head " : "part ", choice)]));
  $("lnote").textContent = note(array);
  $("large").showModal();
  $("lscroll").scrollTo(0, 0);
  drawLarge();
  $("lmap").focus();
}

function note(array) {
  const parts = ["The colour shows the sign, the shade the square root of the absolute value."];
  if (array.ri || array.ci) parts.push(`To keep the page small, it contains ${array.d.join(" × ")} of the ${array.n.join(" × ")} numbers. Range, mean and histogram cover all of them.`);
  if (isTriangle(array)) parts.push("Each row is a query token, each column a key token. Later keys are masked.");
  return parts.join(" ") + " Use the arrow keys to select a cell.";
}

function rowName(array, r) {
  const index = rowIndex(array, r);
  if (array.one) return "";
  if (array.n.length > 1 && array.n.at(-2) === rowTokens.length && rowTokens.length) return `${index} ${visible(rowTokens[index])}`;
  if (array.ri && data.ids.includes(index) && array.s.startsWith("V ")) return `${index} ${visible(data.tokens[data.ids.indexOf(index)])}`;
  return String(index);
}

const between = ([from, to], x) => Math.max(from, Math.min(to, Math.floor(x)));

// Give a canvas this size in CSS pixels, and return its context.
function sized(canvas, width, height) {
  const ratio = devicePixelRatio || 1;
  Object.assign(canvas, { width: width * ratio, height: height * ratio });
  Object.assign(canvas.style, { width: width + "px", height: height + "px" });
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  Object.assign(context, { imageSmoothingEnabled: false, font: FONT, textBaseline: "middle" });
  return context;
}

function drawLarge() {
  const { array } = big, [, rows, columns] = array.d;
  const names = Array.from({ length: rows }, (_, r) => rowName(array, r).slice(0, innerWidth < 500 ? 9 : 16));
  const probe = sized($("llabels"), 1, 1), left = Math.ceil(Math.max(...names.map(text => probe.measureText(text).width))) + 8;
  const top = isTriangle(array) ? 76 : 0;
  const width = between(CELL.width, ($("lscroll").clientWidth - left - 48) / columns);
  const height = between(CELL.height, (innerHeight * 0.66 - 60) / rows);
  Object.assign(big, { top, width, height });
  drawRowNames(names, left);
  const context = sized($("lmap"), width * columns + (top ? 40 : 2), top + height * rows + 2);
  context.drawImage(paint(array, big.slice, document.createElement("canvas")), 0, top, width * columns, height * rows);
  if (top) drawColumnNames(context);
  Object.assign(context, { strokeStyle: color("--ink"), lineWidth: 2 });
  context.strokeRect(width * big.c, top + height * big.r, width, height);
  readLarge();
}

function drawRowNames(names, left) {
  const { top, height } = big, context = sized($("llabels"), left, top + height * names.length + 2);
  context.fillStyle = color("--soft");
  names.forEach((text, r) => context.fillText(text, 2, top + height * (r + 0.5)));
}

function drawColumnNames(context) {
  const { array, top, width } = big;
  context.fillStyle = color("--soft");
  for (let c = 0; c < array.d[2]; c += width < 11 ? 2 : 1) {
    context.save();
    context.translate(width * (c + 0.5), top - 4);
    context.rotate(-Math.PI / 3);
    context.fillText(visible(rowTokens[columnIndex(array, c)]).slice(0, 11), 0, 0);
    context.restore();
  }
}

function readLarge() {
  const { array, slice, r, c, name } = big, [, rows, columns] = array.d, column = columnIndex(array, c);
  const row = rowName(array, r).replace(/^(\d+) (.*)$/, "$1 “$2”");
  const where = [array.d[0] > 1 ? slice : null, array.one ? null : row, big.top ? `${column} “${visible(rowTokens[column])}”` : column];
  $("lread").textContent = `${name}[${where.filter(part => part !== null).join(", ")}] = ${short(cells(array)[slice * rows * columns + r * columns + c])}`;
}

function pick(event) {
  if (!big) return;
  const box = $("lmap").getBoundingClientRect(), [, rows, columns] = big.array.d;
  const c = Math.floor((event.clientX - box.left) / big.width), r = Math.floor((event.clientY - box.top - big.top) / big.height);
  if (c < 0 || r < 0 || c >= columns || r >= rows) return;
  Object.assign(big, { r, c });
  drawLarge();
}

function moveCell(event) {
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  event.stopPropagation();
  if (!step || event.target.tagName === "SELECT") return;
  const [, rows, columns] = big.array.d, box = $("lscroll");
  big.r = between([0, rows - 1], big.r + step[0]);
  big.c = between([0, columns - 1], big.c + step[1]);
  event.preventDefault();
  drawLarge();
  const x = big.width * big.c, y = big.top + big.height * big.r, room = box.clientWidth - $("llabels").clientWidth - big.width;
  box.scrollTo(between([x - room, x], box.scrollLeft), between([y - box.clientHeight + 2 * big.height, y], box.scrollTop));
}

$("lmap").addEventListener("pointermove", pick);
$("lmap").addEventListener("pointerdown", pick);
$("lclose").addEventListener("click", () => $("large").close());
$("large").addEventListener("click", event => { if (event.target === $("large")) $("large").close(); });
$("large").addEventListener("keydown", moveCell);
