// Where the reader is, and how they move: buttons, keys, the list of steps, the address.

let position = 0;

function go(to, quiet) {
  position = Math.max(0, Math.min(LAST, to));
  const back = isBack(position), ended = position === LAST;
  document.body.classList.toggle("back", back);
  document.body.classList.toggle("ended", ended);
  $("where").replaceChildren(...whereWords(back, ended));
  $("choose").value = ended ? "update" : String(stationOf(position));
  $("track").style.width = `${(100 * position) / LAST}%`;
  $("prev").disabled = position === 0;
  $("next").disabled = ended;
  drawMap();
  $("main").replaceChildren(...(ended ? showUpdate() : show(stepOf(position), back)));
  if (stop !== null) lookAgain();
  if (quiet) return;
  $("banner").open = false;
  setAddress("#" + position);
  scrollTo(0, Math.min(scrollY, $("bar").offsetTop));
}

function whereWords(back, ended) {
  if (ended) return [el("span", { class: "dir" }, "the update")];
  const station = stationOf(position), count = station ? `step ${station} of ${data.steps.length}` : "the message";
  return [el("span", { class: "dir" }, back ? "← back" : "forward →"), ` ${count}`];
}

// The list of all steps, by block.
function fillChoose() {
  let group = null, name = null;
  stations.forEach((step, station) => {
    const here = blockOf(step) ? `block ${blockOf(step)}` : step.kind === "tokens" || step.kind === "embedding" ? "the message" : "the answer";
    if (here !== name) $("choose").append((group = el("optgroup", { label: (name = here) })));
    group.append(el("option", { value: station }, label(step) + (isWrong(step) ? " ✗ wrong" : "")));
  });
  $("choose").append(el("option", { value: "update" }, "the update"));
  $("choose").addEventListener("change", event => goToStation(event.target.value));
}

// Go to a station, in the direction in which the reader walks.
function goToStation(station) {
  if (station === "update") return go(LAST);
  go(isBack(position) ? LAST - 1 - Number(station) : Number(station));
}

function about() {
  const what = data.label === null ? "Each token is predicted from the tokens before it" : `The message's label is ${data.label} (of ${data.labels.join(", ")})`;
  const learning = data.frozen ? `${data.frozen} of ${data.parameters} parameter arrays are frozen.` : "All parameters are trainable.";
  return `${data.model}. ${what}. The loss is ${data.loss}, computed in float64. ${learning}`;
}

function pieces() {
  const times = {};
  data.ids.forEach(id => { times[id] = (times[id] || 0) + 1; });
  return data.tokens.map((text, i) => {
    const twice = times[data.ids[i]] > 1;
    return el("span", { class: twice ? "twice" : null, title: `token ${i}, id ${data.ids[i]}` + (twice ? ", occurs more than once" : "") }, visible(text));
  });
}

function onKey(event) {
  if (/SELECT|INPUT/.test(event.target.tagName) || event.ctrlKey || event.metaKey || event.altKey) return;
  const to = { ArrowRight: position + 1, ArrowLeft: position - 1, Home: 0, End: LAST }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  go(to);
}

function fromAddress() {
  const named = stopInAddress();
  if (named !== null) return openStop(named);
  if (location.hash || innerWidth < 500) $("banner").open = false; // on a phone it would hide the map
  go(Number(location.hash.slice(1)) || 0, true);
}

// On paper there is every step, once.
function showAll() {
  const all = single ? [] : [...stations.map(step => show(step, false)), showUpdate()];
  if (all.length) $("main").replaceChildren(...all.map(parts => el("section", { class: "printed" }, parts)));
}

function start() {
  document.body.classList.toggle("single", single);
  if (single) {
    $("headline").textContent = `${data.steps[0].kind}: every line of the code that ran, with its values`;
    $("main").replaceChildren(...showStep(data.steps[0], true));
    return;
  }
  $("headline").textContent = "One message, forward and back: every line of the code that ran, with its values";
  $("about").textContent = about();
  $("pieces").append(...pieces());
  fillChoose();
  $("starttour").textContent = `Take the tour: ${data.tour.length} stops`;
  $("starttour").addEventListener("click", event => { event.preventDefault(); openStop(0); });
  $("prev").addEventListener("click", () => go(position - 1));
  $("next").addEventListener("click", () => go(position + 1));
  document.addEventListener("keydown", onKey);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => go(position, true));
  addEventListener("hashchange", fromAddress);
  addEventListener("resize", drawMap);
  addEventListener("beforeprint", showAll);
  addEventListener("afterprint", () => go(position, true));
  fromAddress();
}
start();
