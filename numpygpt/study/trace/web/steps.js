// The steps: their names, and what the page shows of each.

const tokensStep = { kind: "tokens", name: "tokens", shape: `${data.tokens.length} tokens` };
const stations = single ? data.steps : [tokensStep, ...data.steps]; // forward; the way back takes them in reverse
const LAST = 2 * stations.length; // position 0…n-1 is forward, n…2n-1 is back, then the update

const isBack = position => position >= stations.length && position < LAST;
const stationOf = position => (position < stations.length ? position : position < LAST ? LAST - 1 - position : null);
const stepOf = position => stations[stationOf(position)];
const positionOf = (name, back) => {
  const station = stations.findIndex(step => step.name === name);
  return back ? LAST - 1 - station : station;
};

// The plain name of a step, and GPT-2's in brackets where it is another word.
const PLAIN = {
  "ln_1": "layernorm", "ln_2": "layernorm", "ln_f": "final layernorm",
  "attn.c_attn": "queries, keys, values", "attn.c_proj": "attention's output", "mlp.c_fc": "widen fourfold", "mlp.c_proj": "back to width D",
  "sum_1": "first sum", "sum_2": "second sum", "head": "head", "take_rows": "the row that is read", "mean_rows": "mean of the rows",
  "query_attention": "attention of one row", "cross_entropy": "loss", "output_loss": "output layer and loss",
};
const blockOf = step => (/^h\.(\d+)\./.exec(step.name) || [])[1]; // the block's number, or undefined
const tailOf = step => step.name.replace(/^h\.\d+\./, "");
const plainName = step => PLAIN[tailOf(step)] || tailOf(step);

function label(step) {
  const tail = tailOf(step), plain = plainName(step);
  return plain === tail || tail === step.kind || tail.startsWith("sum_") ? plain : `${plain} (${tail})`;
}
const title = step => (blockOf(step) ? `block ${blockOf(step)} · ` : "") + label(step);
const isWrong = step => (step.checks || []).some(check => !check[7]);

const heading = (text, file) => [el("h2", {}, text), el("div", { class: "file" }, file || "")];

// A half of the page: side is "f" or "b". The half that is walked now has a coloured edge.
function column(side, on, ...children) {
  const title = side === "f" ? "forward →" : data.own && !data.steps[0].back ? "the check" : "← back"; // an optimizer's step has no way back
  return el("div", { class: `column ${side}` + (on ? " on" : "") }, el("h3", {}, title), children);
}

const reasons = why => why.length > 0 && el("ul", { class: "why" }, why.map(text => el("li", {}, text)));

function show(step, back) {
  return step.kind === "tokens" ? showTokens(back) : showStep(step, back);
}

function showTokens(back) {
  const [forward, backward] = data.words.tokens;
  const rows = data.tokens.map((text, i) => el("tr", {}, el("td", { class: "num" }, String(i)), el("td", { class: "mono" }, visible(text)), el("td", { class: "num" }, String(data.ids[i]))));
  const table = el("table", { class: "tokens" }, el("tr", {}, ["position", "token", "id"].map(text => el("th", {}, text))), rows);
  return [...heading("tokens"), el("div", { class: "columns" },
    column("f", !back, el("p", { class: "say" }, forward), table),
    column("b", back, el("p", { class: "say" }, backward), el("div", { class: "none" }, el("b", {}, "Backpropagation ends here. "), el("span", {}, "Next: the update."))))];
}

function showStep(step, back) {
  const scope = call => `${step.name}/${data.functions[call.f].outer}`;
  const [forward, backward, why] = step.words, kept = step.calls[0].runs[0].kept;
  const blocks = calls => calls.map(call => codeBlock(call, scope(call)));
  return [
    ...heading(title(step), fileOf(step)),
    pooledOtherwise(step),
    algebra(data.functions[step.calls[0].f]),
    el("div", { class: "columns" },
      column("f", !back || single, forward && el("p", { class: "say" }, forward), blocks(step.calls),
        step.back && kept.length > 0 && el("p", { class: "legend" }, `Kept for the backward pass (underlined): ${kept.join(", ")}.`)),
      column("b", back || single, backward && el("p", { class: "say" }, backward), reasons(why),
        step.back ? blocks(step.back) : !single && el("div", { class: "none" }, el("b", {}, "No gradient reaches this step. "), el("span", {}, NO_GRADIENT)),
        step.idle.map(number => idleBlock(number, `${step.name}/${step.kind}`, whyIdle(step, data.functions[number].name))),
        step.ends && el("div", { class: "ends" }, step.kind === "embedding" ? ENDS_AT_TOKENS : ENDS))),
    figure(step),
    step.sums.length > 0 && addedUp(step),
    step.checks && proof(step),
  ].filter(Boolean);
}
const NO_GRADIENT = "No parameter here or below is trainable, so none of the gradient functions is called. The gradient is not 0: it is never computed, and the arrays that it would need are not kept.";
const ENDS = "Backpropagation stops here: no parameter below is trainable, so the input's gradient function is not called.";
const ENDS_AT_TOKENS = "Backpropagation stops here: token ids are whole numbers and have no gradient.";

function whyIdle(step, name) {
  const argument = name.slice(1);
  if (!step.back) return "because nothing here or below is trainable";
  return step.frozen.includes(argument) ? `because ${step.parameters[argument]} is frozen` : "because nothing below is trainable";
}

function fileOf(step) {
  const fn = data.functions[step.calls[0].f];
  const parameters = Object.entries(step.parameters).map(([argument, name]) => `${argument} is ${name}` + (step.frozen.includes(argument) ? " (frozen)" : ""));
  return [`${fn.file}, line ${fn.first}`, parameters.join(", ")].filter(Boolean).join(" · ");
}

const lastAttention = () => data.steps.filter(step => step.kind === "attention").map(step => step.name).at(-1);

// In the last block, say what the other way to compute it is.
function pooledOtherwise(step) {
  if (data.folded && step.kind === "query_attention")
    return el("p", {}, `The last block is computed only for the row that the classifier reads, as in training. Without --folded, the page shows ordinary attention over all rows. Largest relative difference between the gradients of the two: ${data.other}.`);
  if (data.other && !data.folded && step.name === lastAttention())
    return el("p", {}, `This is ordinary attention over all rows. The classifier reads only one row afterwards, so training computes this block only for that row (query_attention), with equal results and less work. Use --folded to see it. Largest relative difference between the gradients of the two: ${data.other}.`);
  return null;
}

function algebra(fn) {
  if (!fn.doc) return null;
  const [from, to] = fn.doc, code = el("div", { class: "code" });
  for (let number = from; number <= to; number++) {
    const text = fn.lines[number - fn.first];
    code.append(el("div", { class: "l" }, el("b", {}, String(number)), el("span", { class: "t", style: hanging(text) }, text)));
  }
  return el("details", { class: "doc" }, el("summary", {}, "the algebra, from the function's docstring"), code);
}

function addedUp(step) {
  const sums = step.sums.map(([what, terms, total]) => el("div", {}, el("div", {}, what),
    el("div", { class: "sum" + (terms.length === 2 ? " two" : "") }, terms.map((term, i) => [i ? el("b", {}, "+") : null, value(term)]), el("b", {}, "="), value(total))));
  return el("section", { class: "card" }, el("h3", {}, "Where gradients add up"), el("p", {}, "A value that is used twice changes the loss in two ways. Its gradient is the sum of both."), sums);
}

function showUpdate() {
  const { name, lr, calls, before, after } = data.update, [forward, backward, why] = data.words.AdamW;
  const learning = data.frozen ? `${data.frozen} of the ${data.parameters} parameter arrays are frozen: the step does not touch them.` : `All ${data.parameters} parameter arrays are trainable.`;
  return [...heading("the update", `numpygpt/training/adamw.py · one step of AdamW with learning rate ${lr.toPrecision(3)}, shown for ${name}`),
    el("div", { class: "columns" },
      el("div", { class: "column on" }, el("h3", {}, "the update"), el("p", { class: "say" }, forward), calls.map(call => codeBlock(call, "update"))),
      el("div", { class: "column on" }, el("h3", {}, "and the loss"), el("p", { class: "say" }, backward), reasons(why),
        el("dl", { class: "num" }, el("dt", {}, "loss before"), el("dd", {}, before), el("dt", {}, "loss after"), el("dd", {}, after)),
        el("p", { class: "legend" }, learning)))];
}
