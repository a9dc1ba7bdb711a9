// The map: the model as a diagram, made from the recorded steps. Boxes are steps, the line along the bottom is the
// residual stream. Arrows light up as the reader walks forward, then back. Blocks fold.

const ROW = { upper: 26, lower: 86, stream: 158 }; // the top of the boxes in the two upper rows, the middle of the stream
const BOX = { width: 104, height: 38, gap: 20 };
const SIDE = { width: 92, frame: 8 };
const STUB = { few: { width: 50, gap: 20 }, many: { width: 36, gap: 10 } }; // a folded block, narrower where there are many
const APART = 3; // the distance of a forward and a backward arrow from the middle of their line

// Names that fit a box; the others are the steps' own.
const SHORT = {
  "attn.c_attn": "make q, k, v", "attn.c_proj": "output layer", "mlp.c_fc": "widen fourfold", "mlp.c_proj": "output layer",
  "ln_1": "layernorm", "ln_2": "layernorm", "ln_f": "layernorm", "take_rows": "the row read", "mean_rows": "mean of rows",
  "query_attention": "attention, 1 row", "cross_entropy": "loss", "output_loss": "head and loss", "head": "new head",
};
const folded = new Map(); // block's number -> whether the reader folded it; of others, the last one visited is open
let visited = null; // the block that was visited last

const blockNumbers = () => [...new Set(stations.map(blockOf).filter(number => number !== undefined))];
const stubSize = () => (blockNumbers().length > 5 ? STUB.many : STUB.few);
const isOpen = number => (folded.has(number) ? !folded.get(number) : number === visited);
const stationsOf = number => stations.map((step, station) => station).filter(station => blockOf(stations[station]) === number);

// Return {nodes, edges, frames, width}. A node is {station, last, x, y, width, height, kind}; it stands for the stations
// from `station` to `last`. An edge is {from, to, points}, between stations. `stream` is the stream's last node so far.
function layout() {
  const map = { nodes: [], edges: [], frames: [], width: 4, stream: null };
  const numbers = blockNumbers(), first = stationsOf(numbers[0])[0], after = stationsOf(numbers.at(-1)).at(-1) + 1;
  addNode(map, { station: LAST, last: LAST, x: map.width, y: ROW.upper, width: SIDE.width, height: BOX.height, kind: "update" });
  for (let station = 0; station < first; station++) onStream(map, station);
  for (const number of numbers) (isOpen(number) ? openBlock : foldedBlock)(map, number, stationsOf(number));
  lastSteps(map, stations.map((_, station) => station).slice(after));
  return map;
}

function addNode(map, node) {
  map.nodes.push(node);
  return node;
}

const box = (map, station, x, y, width = BOX.width, height = BOX.height) => addNode(map, { station, last: station, x, y, width, height, kind: "box" });

// Lead the stream on to a node.
function along(map, node, gap = BOX.gap) {
  const from = map.stream;
  if (from) map.edges.push({ from: from.last, to: node.station, points: [[from.x + from.width, ROW.stream], [node.x, ROW.stream]] });
  map.stream = node;
  map.width = Math.max(map.width, node.x + node.width + gap);
  return node;
}

const onStream = (map, station) => along(map, box(map, station, map.width, ROW.stream - BOX.height / 2, SIDE.width));

function foldedBlock(map, number, own) {
  const { width, gap } = stubSize();
  along(map, addNode(map, { station: own[0], last: own.at(-1), x: map.width, y: ROW.upper, width, height: ROW.stream + 22 - ROW.upper, kind: "stub", number }), gap);
}

// A block: two branches leave the stream, and come back to it at the two sums.
function openBlock(map, number, own) {
  const left = map.width, kinds = own.map(station => stations[station].kind);
  const firstSum = kinds.indexOf("sum_1"), row = kinds.indexOf("take_rows"); // the row that is read, where it stands in the block
  const middle = branch(map, own.slice(row + 1, firstSum), own[firstSum], left + SIDE.frame, row < 0 ? null : own[row]);
  branch(map, own.slice(firstSum + 1, -1), own.at(-1), middle.x + middle.width / 2 + BOX.width / 2 + BOX.gap, null);
  map.width += SIDE.frame - BOX.gap + BOX.width / 2;
  map.frames.push({ number, x: left, width: map.width - left });
  map.width += BOX.gap;
}

// A branch of two columns: up from the stream through its first box, over, and down through its last to the sum.
function branch(map, own, sumStation, x, rowStation) {
  const second = x + BOX.width + BOX.gap, center = column => column + BOX.width / 2, over = own.slice(1, -1);
  const tops = over.map((station, i) => box(map, station, over.length === 1 ? (x + second) / 2 : [x, second][i], ROW.upper));
  const chain = [box(map, own[0], x, ROW.lower), ...tops, box(map, own.at(-1), second, ROW.lower)];
  map.edges.push({ from: map.stream.last, to: own[0], points: [[center(x), ROW.stream], [center(x), ROW.lower + BOX.height]] });
  chain.slice(1).forEach((node, i) => map.edges.push({ from: chain[i].last, to: node.station, points: lineBetween(chain[i], node) }));
  if (rowStation !== null) along(map, box(map, rowStation, center(x) + 10, ROW.stream - 15, center(second) - center(x) - 34, 30));
  map.edges.push({ from: own.at(-1), to: sumStation, points: [[center(second), ROW.lower + BOX.height], [center(second), ROW.stream - 12]] });
  return along(map, addNode(map, { station: sumStation, last: sumStation, x: center(second) - 12, y: ROW.stream - 12, width: 24, height: 24, kind: "sum" }));
}

// The line between two neighbouring boxes of a branch: vertical in a column, or else horizontal.
function lineBetween(a, b) {
  if (a.y === b.y) return [[a.x + a.width, a.y + a.height / 2], [b.x, b.y + b.height / 2]];
  const x = a.y > b.y ? a.x + a.width / 2 : b.x + b.width / 2;
  return a.y > b.y ? [[x, a.y], [x, b.y + b.height]] : [[x, a.y + a.height], [x, b.y]];
}

// After the blocks: along the stream, the last two above one another if there are more than two.
function lastSteps(map, own) {
  const stacked = own.length > 2 ? own.slice(-2) : [];
  own.slice(0, own.length - stacked.length).forEach(station => onStream(map, station));
  let below = map.stream;
  stacked.forEach((station, i) => {
    const node = box(map, station, below.x, [ROW.lower, ROW.upper][i], SIDE.width);
    map.edges.push({ from: below.last, to: station, points: lineBetween(below, node) });
    below = node;
  });
}

// ---- drawing ----
function drawMap() {
  const place = $("map"), focused = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.key : undefined;
  const here = stationOf(position);
  visited = (here !== null && blockOf(stations[here])) || visited || blockNumbers().at(-1);
  const map = layout(), height = ROW.stream + 26 + (data.tied ? 18 : 0);
  const room = place.clientWidth - 2 * parseFloat(getComputedStyle(place).paddingLeft);
  const scale = Math.max(innerWidth < 700 ? 1 : 0.82, Math.min(1.1, room / map.width));
  const drawing = svg("svg", { width: Math.floor(map.width * scale), height: Math.floor(height * scale), viewBox: `0 0 ${map.width} ${height}`, role: "group", "aria-label": "map of the model" },
    map.frames.map(drawFrame), tie(map), map.edges.map(drawEdge), map.nodes.map(drawNode));
  place.replaceChildren(drawing);
  if (focused !== undefined) { const again = drawing.querySelector(`[data-key="${focused}"]`); if (again) again.focus({ preventScroll: true }); }
  const now = map.nodes.find(node => isHere(node));
  if (now) place.scrollLeft = scale * (now.x + now.width / 2) - place.clientWidth / 2;
}

const isHere = node => (position === LAST ? node.station === LAST : stationOf(position) >= node.station && stationOf(position) <= node.last);

// What happens on click, Enter or space.
const pressable = (key, label, action) => ({ role: "button", tabindex: 0, "data-key": key, "aria-label": label, onclick: action });
function button(attributes, ...children) {
  const { onclick, ...others } = attributes, node = svg("g", others, ...children);
  node.addEventListener("click", onclick);
  node.addEventListener("keydown", event => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    onclick();
  });
  return node;
}

const text = (x, y, kind, words) => svg("text", { x, y, class: kind, "text-anchor": "middle" }, words);

function drawFrame({ number, x, width }) {
  const fold = () => { folded.set(number, true); drawMap(); };
  return [svg("rect", { class: "frame", x, y: 3, width, height: ROW.stream + 20, rx: 7 }),
    svg("text", { class: "shape", x: x + width / 2, y: ROW.stream + 17 }, "residual stream →"),
    button({ ...pressable(`fold${number}`, `fold block ${number}`, fold), class: "fold" }, svg("rect", { class: "hit", x, y: 3, width: 74, height: 20 }), svg("text", { x: x + 8, y: 17 }, `▾ block ${number}`))];
}

function drawNode(node) {
  const { x, y, width, height, kind } = node, center = x + width / 2;
  const steps = kind === "update" ? [] : stations.slice(node.station, node.last + 1);
  const gradient = kind === "update" || steps.some(step => step.back), wrong = steps.some(isWrong);
  const marks = [kind, isHere(node) && "here", !gradient && "without", wrong && "bad"].filter(Boolean).join(" ");
  const shape = kind === "sum" ? svg("circle", { cx: center, cy: y + height / 2, r: width / 2 }) : svg("rect", { x, y, width, height, rx: 5 });
  return button({ ...pressable(`n${node.station}`, nodeLabel(node, steps, gradient, wrong), () => goToNode(node)), class: "node " + marks, "aria-current": isHere(node) ? "step" : null },
    shape, nodeWords(node, steps, center), isHere(node) && flag(center, y), wrong && text(x + width - 8, y + 12, "cross", "✗"));
}

function nodeLabel(node, steps, gradient, wrong) {
  if (node.kind === "update") return "the update";
  const name = node.kind === "stub" ? `block ${node.number}, folded: open` : title(steps[0]);
  return [name, steps.at(-1).shape, gradient ? "" : "no gradient", wrong ? "a gradient is wrong" : ""].filter(Boolean).join(", ");
}

function nodeWords(node, steps, center) {
  const { y, width, height, kind, number } = node, middle = y + height / 2;
  if (kind === "sum") return text(center, middle + 5.5, "plus", "+");
  if (kind === "update") return [text(center, middle - 3, "name", "the update"), text(center, middle + 11, "shape", "AdamW")];
  if (kind === "stub") return [text(center, middle - 12, "name", "block"), text(center, middle + 4, "name", number), text(center, middle + 22, "shape", "▸")];
  const [step] = steps, tail = tailOf(step).replace("attn.", "").replace("mlp.", "");
  const name = SHORT[step.kind] || SHORT[tailOf(step)] || plainName(step), second = step.kind === "attention" || step.kind === "query_attention" ? `${data.heads} heads` : /^(c_|ln_)/.test(tail) ? tail : "";
  if (height < BOX.height) return text(center, middle + 4, "name", name);
  return [text(center, y + 15, "name", name), text(center, y + 28, "shape", [second, step.shape || data.loss.slice(0, 7)].filter(Boolean).join(" · ")), second.endsWith("heads") && heads(node)];
}

// A bar for each head.
function heads({ x, y, width, height }) {
  const count = data.heads, each = (width - 12) / count;
  return Array.from({ length: count }, (_, i) => svg("rect", { class: "head", x: x + 6 + i * each, y: y + height - 6, width: Math.max(1, each - 1.5), height: 3 }));
}

const flag = (center, y) => [svg("rect", { class: "flag", x: center - 36, y: y - 11, width: 72, height: 13, rx: 6 }), text(center, y - 1.5, "flag", "you are here")];

function goToNode(node) {
  if (node.kind === "update") return go(LAST);
  if (node.kind === "stub") folded.set(node.number, false);
  const back = isBack(position), station = back ? node.last : node.station;
  go(back ? LAST - 1 - station : station);
}

// Forward and backward arrows side by side. A gradient passes an edge if the result that was passed has one.
function drawEdge({ from, to, points }) {
  const here = stationOf(position), back = isBack(position), ended = position === LAST;
  const forward = back || ended || here >= to, backward = ended || (back && here <= to);
  return [arrow(points, "forward", forward), stations[from].back && arrow([...points].reverse(), "backward", backward)];
}

function arrow([[x1, y1], [x2, y2]], direction, lit) {
  const length = Math.hypot(x2 - x1, y2 - y1), [ux, uy] = [(x2 - x1) / length, (y2 - y1) / length];
  const [dx, dy] = [-uy * APART, ux * APART]; // to the right of the way, so the two directions do not meet
  const [ex, ey] = [x2 + dx, y2 + dy], [bx, by] = [ex - 6 * ux, ey - 6 * uy];
  return svg("g", { class: `arrow ${direction}` + (lit ? " lit" : "") },
    svg("line", { x1: x1 + dx, y1: y1 + dy, x2: bx, y2: by }),
    svg("polygon", { points: [[ex, ey], [bx - 3.2 * uy, by + 3.2 * ux], [bx + 3.2 * uy, by - 3.2 * ux]].join(" ") }));
}

// A language model's output layer is the table of the embedding.
function tie(map) {
  if (!data.tied) return null;
  const [table, output] = ["embedding", "output_loss"].map(kind => map.nodes.find(node => node.kind === "box" && stations[node.station].kind === kind));
  const y = ROW.stream + 36, [a, b] = [table, output].map(node => node.x + node.width / 2), bottom = ROW.stream + BOX.height / 2;
  return svg("g", { class: "tie" }, svg("path", { d: `M${a} ${bottom}V${y}H${b}V${bottom}` }), svg("text", { x: (a + b) / 2, y: y - 4, "text-anchor": "middle" }, "tied: one table wte is the embedding and the head"));
}
