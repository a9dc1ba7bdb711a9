// The tour: stops with a question each, whose answer is behind a click. A link #tour=5 opens the fifth stop.

let stop = null; // the number of the open stop, from 0, or null

function openStop(number) {
  stop = Math.max(0, Math.min(data.tour.length - 1, number));
  const { step, back } = data.tour[stop];
  $("banner").open = false;
  go(step === "update" ? LAST : positionOf(step, back), true);
  setAddress(`#tour=${stop + 1}`);
  drawStop();
  scrollTo(0, $("map").offsetTop);
}

function leaveTour() {
  stop = null;
  $("tour").replaceChildren();
  document.querySelectorAll(".look").forEach(place => place.classList.remove("look"));
  setAddress(`#${position}`);
}

function drawStop() {
  const { title: name, text, question, answer } = data.tour[stop], count = data.tour.length;
  const next = stop + 1 < count ? el("button", { id: "tournext", onclick: () => openStop(stop + 1) }, "next stop ▶") : el("button", { id: "tournext", onclick: leaveTour }, "end of the tour");
  const look = lookAt();
  $("tour").replaceChildren(el("section", { class: "stop", "aria-label": `stop ${stop + 1} of the tour` },
    el("div", { class: "stoptop" }, el("b", {}, `Tour, stop ${stop + 1} of ${count}`),
      el("button", { disabled: stop === 0, onclick: () => openStop(stop - 1) }, "◀ back"), next, el("button", { id: "tourleave", onclick: leaveTour }, "leave the tour")),
    el("h3", {}, name), el("p", {}, text),
    look.length > 0 && el("p", {}, "Look at ", look.map((place, i) => [i ? ", " : "", el("button", { class: "show mono", onclick: () => reveal(place) }, place.dataset.name)]), "."),
    el("p", { class: "question" }, question),
    el("details", {}, el("summary", {}, "answer"), el("p", {}, answer))));
  $("tournext").focus({ preventScroll: true });
}

// Mark the values to look at, the last value of each name, and return their places.
function lookAt() {
  const { look } = data.tour[stop];
  const places = look.map(name => [...document.querySelectorAll(`#main .column .v[data-name="${CSS.escape(name)}"]`)].at(-1)).filter(Boolean);
  places.forEach(place => place.classList.add("look"));
  return places;
}

// After a step: mark the values again if this is the stop's place.
function lookAgain() {
  const { step, back } = data.tour[stop];
  if (position === (step === "update" ? LAST : positionOf(step, back))) lookAt();
}

function reveal(place) {
  place.scrollIntoView({ block: "center" });
  if (place.tagName === "BUTTON") place.focus({ preventScroll: true });
}

// The stop that the address names, from 0, or null.
function stopInAddress() {
  const found = /^#tour=(\d+)$/.exec(location.hash);
  return found && data.tour.length ? Number(found[1]) - 1 : null;
}
