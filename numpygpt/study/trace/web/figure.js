// A drawing that belongs to one operation: gelu's curve and its slope, with this message's numbers as dots.

function figure(step) {
  const names = step.calls[0].runs[0].args.map(([name]) => name);
  return step.kind === "gelu" && ["SLOPE", "CUBIC", "x"].every(name => names.includes(name)) ? geluFigure(step) : null; // a learner's gelu may have others
}

const GELU = { from: -4, to: 4, width: 360, height: 200, left: 30, right: 10, top: 10, bottom: 24, dots: 240 };

function geluFigure(step) {
  const { args } = step.calls[0].runs[0], number = name => data.arrays[args.find(([argument]) => argument === name)[1]];
  const [slope, cubic] = [cells(number("SLOPE"))[0], cells(number("CUBIC"))[0]];
  const tanh = x => Math.tanh(slope * (x + cubic * x ** 3));
  const curve = x => (x / 2) * (1 + tanh(x));
  const derivative = x => (1 + tanh(x)) / 2 + (x / 2) * (1 - tanh(x) ** 2) * slope * (1 + 3 * cubic * x * x);
  const shown = [...cells(number("x"))], every = Math.max(1, Math.floor(shown.length / GELU.dots));
  const dots = shown.filter((x, i) => i % every === 0 && x >= GELU.from && x <= GELU.to);
  const flat = shown.filter(x => Math.abs(derivative(x)) < 0.05).length, outside = shown.filter(x => x < GELU.from || x > GELU.to).length;
  return el("section", { class: "card" }, el("h3", {}, "The curve and its slope"),
    el("p", {}, `Each dot is a number of x: ${dots.length} of the ${shown.length} that the page contains. dx is dy times the slope at x. At ${flat} of them (${Math.round((100 * flat) / shown.length)} %) the slope is smaller than 0.05, so hardly any gradient passes.` + (outside ? ` ${outside} lie outside the drawing, where the curve is nearly straight.` : "")),
    el("div", { class: "two" }, plot("y = gelu(x)", curve, dots, -0.5, 4), plot("its slope, dy/dx", derivative, dots, -0.25, 1.25)));
}

function plot(name, f, dots, low, high) {
  const { from, to, width, height, left, right, top, bottom } = GELU;
  const x = at => left + ((width - left - right) * (at - from)) / (to - from), y = at => top + ((height - top - bottom) * (high - at)) / (high - low);
  const line = Array.from({ length: 161 }, (_, i) => from + ((to - from) * i) / 160).map(at => `${x(at).toFixed(1)},${y(f(at)).toFixed(1)}`);
  const rules = [0, 1].map(at => [svg("line", { class: "rule", x1: left, x2: width - right, y1: y(at), y2: y(at) }), svg("text", { x: left - 4, y: y(at) + 3, "text-anchor": "end" }, String(at))]);
  const ticks = [-4, -2, 0, 2, 4].map(at => svg("text", { x: x(at), y: height - 8, "text-anchor": "middle" }, String(at)));
  return el("figure", {}, svg("svg", { class: "curve", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": name }, rules, ticks,
    svg("polyline", { class: "difference", points: line.join(" ") }), dots.map(at => svg("circle", { class: "dot", r: 2.4, cx: x(at).toFixed(1), cy: y(f(at)).toFixed(1) }))),
    el("figcaption", { class: "mono" }, name));
}
