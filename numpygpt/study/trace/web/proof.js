// The check of a step's gradients: entries to choose from, and the error by the size of the difference.

function proof(step) {
  const names = [...new Set(step.checks.map(check => check[0]))], chart = el("div", {});
  const boxes = names.map(name => checkBox(step, step.checks.filter(check => check[0] === name), chart));
  const loss = single ? "the loss here is sum(result · dy)." : "all later steps run again.";
  const charted = step.checks.some(check => check[8]) ? null : stations.find(other => other.kind === step.kind && (other.checks || []).some(check => check[8]));
  const pointer = charted && el("p", {}, "How the errors depend on h is drawn once for each operation: ", el("button", { class: "show", onclick: () => go(positionOf(charted.name, isBack(position))) }, title(charted)));
  return el("section", { class: "card" }, el("h3", {}, "The check"),
    el("p", {}, `Complex step: i·h is added to one entry, with h = ${data.h[0]}, and ${loss} The imaginary part of the loss, divided by h, is the derivative. No subtraction rounds it, so nearly all digits are right. The central finite difference, with h = ${data.h[1]}, subtracts two nearly equal losses, and so loses about half the digits.`),
    el("div", { class: "proof" + (step.checks.some(check => check[8]) ? "" : " wide") }, el("div", { class: "checks" }, boxes), chart), pointer);
}

// Show one gradient's check. The reader chooses the entry, and the chart follows.
function checkBox(step, entries, chart) {
  const box = el("div", { class: "check" });
  const worst = entries.reduce((found, check, i) => (check[5] < entries[found][5] ? i : found), 0);
  const options = entries.map((check, i) => el("option", { value: i }, entryName(step, check) + (i === worst && entries.length > 1 ? " · the largest error" : "")));
  const choose = el("select", { "aria-label": `entry of ${entries[0][0]}`, onchange: event => fill(Number(event.target.value), true) }, options);
  function fill(i, chosen) {
    const [name, , byHand, complex, difference, digits, differenceDigits, holds, errors] = entries[i];
    box.classList.toggle("wrong", !holds);
    box.replaceChildren(
      el("div", { class: "row" }, el("span", { class: "what mono" }, `d loss / d ${name}`), choose,
        el("span", { class: "verdict" }, holds ? `✓ ${Math.floor(digits)} digits agree` : `✗ only ${Math.floor(digits)} digits agree: this gradient is wrong`)),
      el("dl", { class: "num" }, el("dt", {}, "by hand"), el("dd", {}, byHand), el("dt", {}, "complex step"), el("dd", {}, complex),
        el("dt", {}, "finite difference"), el("dd", {}, difference, el("i", {}, `  (${Math.floor(differenceDigits)} digits)`))));
    if (errors && (chosen || !chart.firstChild)) chart.replaceChildren(...errorChart(step, entries[i]));
    if (chosen) choose.focus();
  }
  fill(0, false);
  return box;
}

const argumentOf = (step, name) => data.arrays[step.calls[0].runs[0].args.find(([argument]) => argument === name)[1]];

// An entry's name, with the token of its row, and of qkv's columns whether they are a query's, a key's or a value's.
function entryName(step, [name, index]) {
  const shape = ["x", "qkv"].includes(name) ? argumentOf(step, name).n || [] : [];
  const tokens = shape.length === 2 && shape[0] === rowTokens.length;
  const part = name === "qkv" ? ", of the " + ["query", "key", "value"][Math.floor((3 * index[1]) / shape[1])] : "";
  return `${name}[${index.map((i, axis) => (axis === 0 && tokens ? `${i} “${visible(rowTokens[i])}”` : i)).join(", ")}]${part}`;
}

const CHART = { width: 360, height: 210, left: 38, right: 12, top: 12, bottom: 30, digits: 17 };

// Draw the relative errors [finite difference, complex step] of one entry for h = 1e-1, 1e-2, …
function errorChart(step, check) {
  const { width, height, left, right, top, bottom, digits } = CHART, errors = check[8], name = entryName(step, check);
  const x = i => left + ((width - left - right) * i) / (errors.length - 1);
  const y = error => top + ((height - top - bottom) * Math.min(digits, Math.max(0, -Math.log10(Math.max(error, 1e-17))))) / digits;
  const places = which => errors.map((pair, i) => (pair[which] === null ? null : [x(i), y(pair[which])])).filter(Boolean);
  const line = (which, kind) => svg("polyline", { class: kind, points: places(which).join(" ") });
  const grid = [0, 4, 8, 12, 16].map(digit => [
    svg("line", { class: "rule", x1: left, x2: width - right, y1: y(10 ** -digit), y2: y(10 ** -digit) }),
    svg("text", { x: left - 4, y: y(10 ** -digit) + 3, "text-anchor": "end" }, digit ? `1e-${digit}` : "1")]);
  const ticks = errors.map((_, i) => (i % 3 ? null : svg("text", { x: x(i), y: height - 16, "text-anchor": "middle" }, `1e-${i + 1}`)));
  return [
    svg("svg", { class: "curve", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `error of d${name} by step size h` },
      grid, ticks, svg("text", { x: (width + left) / 2, y: height - 3, "text-anchor": "middle" }, "h, smaller to the right"),
      line(0, "difference"), places(0).map(([cx, cy]) => svg("circle", { class: "difference", r: 2.6, cx, cy })),
      line(1, "complex"), places(1).map(([px, py]) => svg("rect", { class: "complex", x: px - 2.6, y: py - 2.6, width: 5.2, height: 5.2 }))),
    el("p", {}, "● finite difference, ■ complex step: the relative error of ", el("b", { class: "mono" }, `d${name}`), `, of ${step.kind} alone. ${chartWords(errors)}`),
  ];
}

// Say what this chart shows, from its own numbers.
function chartWords(errors) {
  const [difference, complex] = [0, 1].map(which => errors.map(pair => pair[which]).map((error, i) => ({ error, h: `1e-${i + 1}` })).filter(({ error }) => error !== null));
  if (!difference.length) return "This gradient is 0, so it has no relative error.";
  const best = difference.reduce((a, b) => (b.error < a.error ? b : a)), smallest = difference.at(-1), largest = difference[0];
  const digits = error => (error === 0 ? "all digits" : `${Math.max(0, Math.floor(-Math.log10(error)))} digits`);
  const reached = complex.find(({ error }) => error <= 1e-14);
  return [
    `The finite difference is best at h = ${best.h}, with ${digits(best.error)}.`,
    largest.error > 100 * best.error ? `At h = ${largest.h}, the curvature of the function leaves ${digits(largest.error)}.` : "Larger h are as good: by this entry, the function is (nearly) a straight line.",
    `At h = ${smallest.h}, the rounding of two nearly equal numbers leaves ${digits(smallest.error)}.`,
    reached ? `The complex step subtracts nothing: from h = ${reached.h} on, it has 14 digits or more.` : `The complex step ends at ${digits(complex.at(-1).error)}.`,
  ].join(" ");
}
