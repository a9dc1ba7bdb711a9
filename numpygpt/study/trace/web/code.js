// The code that ran, with the values that each line made under it.

const KEYWORDS = new Set("def return if else for in is not and or None True False zip lambda".split(" "));
const WORD = /(#.*$)|("[^"]*"|'[^']*')|([A-Za-z_]\w*)|([^A-Za-z_#"']+)/g; // comment, string, name, anything else

function hanging(text) {
  const indent = text.search(/\S/) + 4;
  return `padding-left:${indent}ch;text-indent:-${indent}ch`;
}

// Show a line of code. Its names can be pointed at; `kept` are those whose values the backward pass keeps.
function codeLine(text, number, scope, kept) {
  const out = el("span", { class: "t", style: hanging(text) });
  for (const [piece, comment, string, name] of text.matchAll(WORD)) {
    const attribute = out.textContent.endsWith(".");
    if (comment) out.append(el("span", { class: "c" }, piece));
    else if (string) out.append(el("span", { class: "s" }, piece));
    else if (name && KEYWORDS.has(name)) out.append(el("span", { class: "k" }, piece));
    else if (name && !attribute) out.append(el("span", { class: "n" + (kept.has(name) ? " kept" : ""), "data-n": `${scope}:${name}` }, piece));
    else out.append(piece);
  }
  return el("div", { class: "l", "data-line": number }, el("b", {}, String(number)), out);
}

// Return [line number, text] of a function's own lines: without its docstring and the functions inside it.
function ownLines(fn) {
  const numbered = fn.lines.map((text, i) => [fn.first + i, text]);
  return numbered.filter(([number, text]) => text.trim() && !fn.hidden.some(([from, to]) => number >= from && number <= to));
}

// What stands above a function: where it was called, or what a part of a block's lines does.
function callTitle(call) {
  const fn = data.functions[call.f], lines = [...new Set(call.runs.map(run => run.from).filter(line => line !== null))];
  if (call.title) return call.title;
  if (!lines.length) return "";
  const name = fn.outer === fn.name ? fn.name : `${fn.name} of ${fn.outer}`;
  return `${name}, called in line${lines.length > 1 ? "s" : ""} ${lines.join(", ").replace(/, (\d+)$/, " and $1")}` + (call.by ? ` of ${call.by}` : "");
}

// Show all calls of a function: the reader chooses the call, and the pass of a loop.
function codeBlock(call, scope) {
  const fn = data.functions[call.f], code = el("div", { class: "code" }), title = callTitle(call), passes = {};
  let run = 0;
  const choosePass = (runs, chosen) => el("div", { class: "runs inset" }, el("label", {}, "pass ",
    el("select", { onchange: event => { runs.lines.forEach(line => { passes[line] = Number(event.target.value); }); fill(); } },
      runs.made.map((_, i) => el("option", { value: i, selected: i === chosen }, `${i + 1}${runs.made.length === rowTokens.length ? " " + visible(rowTokens[i]) : ""}`))),
    ` of ${runs.made.length}`));

  function fill() {
    const current = call.runs[run], kept = new Set(current.kept);
    let headed = false; // whether the line that ends the function's head has been shown
    code.replaceChildren();
    for (const [number, text] of ownLines(fn)) {
      const made = current.lines[number] || [], line = codeLine(text, number, scope, kept);
      const ends = !headed && /:\s*(#.*)?$/.test(text), values = ends ? current.args : [];
      headed = headed || ends;
      if (call.title && !made.length && !values.length) line.classList.add("dim");
      code.append(line, ...values.flatMap(part => value(part, scope)));
      const chosen = Math.min(passes[number] || 0, made.length - 1);
      if (made.length > 1) {
        const together = Object.keys(current.lines).filter(other => current.lines[other].length === made.length);
        code.append(choosePass({ made, lines: together }, chosen));
      }
      if (made.length) code.append(...made[chosen].flatMap(part => value(part, scope)));
    }
  }

  fill();
  const chooseCall = el("div", { class: "runs" }, el("label", {}, "call ",
    el("select", { onchange: event => { run = Number(event.target.value); fill(); } }, call.runs.map((_, i) => el("option", { value: i }, String(i + 1)))), ` of ${call.runs.length}`));
  return el("div", { class: "function", "data-fn": `${scope}:${fn.name}` }, title && el("h4", {}, title), call.title ? null : formulas(fn.formulas), call.runs.length > 1 && chooseCall, code);
}

// Typeset formulas: the page has them as MathML.
function formulas(lines) {
  const box = el("div", { class: "formulas" });
  box.innerHTML = lines.join("");
  return box;
}

// Show a gradient function that was not called, dimmed.
function idleBlock(number, scope, why) {
  const fn = data.functions[number], lines = ownLines(fn).map(([line, text]) => codeLine(text, line, scope, new Set()));
  return el("div", { class: "function idle", "data-fn": `${scope}:${fn.name}` }, el("h4", {}, `${fn.name}: not called, ${why}`), el("div", { class: "code" }, lines));
}

// Light all places of the name that is pointed at, and its gradient function: gain lights dgain.
function light(target, on) {
  const node = on && target.closest ? target.closest("[data-n]") : null;
  document.querySelectorAll(".lit").forEach(lit => lit.classList.remove("lit"));
  if (!node) return;
  const [scope, name] = node.dataset.n.split(":");
  const places = `[data-n="${CSS.escape(node.dataset.n)}"], [data-fn="${CSS.escape(`${scope}:d${name}`)}"], [data-fn="${CSS.escape(node.dataset.n)}"]`;
  document.querySelectorAll(places).forEach(place => place.classList.add("lit"));
}
$("main").addEventListener("pointerover", event => light(event.target, true));
$("main").addEventListener("pointerleave", event => light(event.target, false));
$("main").addEventListener("focusin", event => light(event.target, true));
