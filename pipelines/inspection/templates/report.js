"use strict";
const panel = document.getElementById("panel");
const kinds = {{ kinds | map("kind") | list | tojson }};
let current = null;

function mark(token, on) {  // the patch in its picture
  const place = /^row (\d+), column (\d+)/.exec(token.dataset.v);
  const frame = token.closest(".run").querySelector(".frame");
  if (!frame || !place) return;
  const image = frame.querySelector("img"), box = frame.querySelector("b").style;
  const width = 1600 / image.naturalWidth, height = 1600 / image.naturalHeight;  // of a patch, in percent
  box.display = on ? "block" : "none";
  box.left = place[2] * width + "%";
  box.top = place[1] * height + "%";
  box.width = width + "%";
  box.height = height + "%";
}

function leave() {
  if (current) { current.classList.remove("current"); mark(current, false); }
  if (plot) plot.querySelector(".at").classList.remove("on");
  current = plot = null;
  panel.hidden = true;
}

function show(token) {
  leave();
  current = token;
  token.classList.add("current");
  mark(token, true);
  goTo(token.closest(".step"));
  const rows = {
    id: token.dataset.i,
    kind: kinds[token.dataset.k],
    position: token.dataset.p,
    value: token.dataset.v,
    loss: token.classList.contains("on") ? "predicted" : "not predicted",
  };
  for (const [name, text] of Object.entries(rows)) panel.querySelector("." + name).textContent = text;
  tell("");
}

function tell(text) {
  panel.querySelector("p").textContent = text;
  panel.classList.toggle("plain", text !== "");
  panel.hidden = false;
  place();
}

function place() {  // the panel below its token or chart, or above where there is no room
  const of = current ?? plot?.querySelector(".at");
  if (!of) return;
  const at = of.getBoundingClientRect(), size = panel.getBoundingClientRect();
  const below = at.bottom + 6 + size.height < innerHeight;
  panel.style.left = Math.max(4, Math.min(at.left, innerWidth - size.width - 8)) + "px";
  panel.style.top = (below ? at.bottom + 6 : at.top - size.height - 6) + "px";
}

// Charts: each has marks, [percent of its axis, text].
const read = new Map();  // {plot: its marks}
let plot = null, at = 0;

function marksOf(chart) {
  if (!read.has(chart)) read.set(chart, JSON.parse(chart.dataset.marks));
  return read.get(chart);
}

function tellMark(chart, number) {
  const [x, text] = marksOf(chart)[number], line = chart.querySelector(".at");
  leave();
  plot = chart;
  at = number;
  line.style.setProperty("--x", x);
  line.classList.add("on");
  if (chart.dataset.steps) goTo(chart.closest(".episode").querySelectorAll(".step")[Math.floor(x / 100 * chart.dataset.steps)]);
  tell(text);
}

function tellNearest(chart, clientX) {
  const box = chart.getBoundingClientRect(), x = ((clientX - box.left) / box.width * 100 - 14) / .81;
  const marks = marksOf(chart);
  let best = 0;
  for (const [number, [place]] of marks.entries()) if (Math.abs(place - x) < Math.abs(marks[best][0] - x)) best = number;
  if (marks.length) tellMark(chart, best);
}

// Filmstrips: the step that is pointed at, walked to or played is the one at the playhead of the curves.
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const playing = new Map();  // {button: timer}

function goTo(step) {
  const episode = step?.closest(".episode"), steps = episode ? [...episode.querySelectorAll(".step")] : [];
  if (steps.length < 2) return;
  for (const other of steps) other.classList.toggle("now", other === step);
  for (const chart of episode.querySelectorAll(".curves .plot")) {
    const line = chart.querySelector(".now");
    line.style.setProperty("--x", (steps.indexOf(step) + .5) / chart.dataset.steps * 100);
    line.classList.add("on");
  }
}

function next(button) {  // go to the next timestep, after the last one to the first; false at the last
  const episode = button.closest(".episode"), strip = episode.querySelector(".strip");
  const steps = [...strip.querySelectorAll(".step")];
  const step = steps[(steps.findIndex((step) => step.classList.contains("now")) + 1) % steps.length];
  goTo(step);
  const left = step.getBoundingClientRect().left - strip.getBoundingClientRect().left + strip.scrollLeft;
  strip.scrollTo({ left, behavior: calm.matches ? "instant" : "smooth" });
  return step !== steps.at(-1);
}

function pause(button) {
  clearInterval(playing.get(button));
  playing.delete(button);
  button.textContent = calm.matches ? "Next timestep" : "Play";
}

for (const button of document.querySelectorAll(".play")) {
  button.hidden = false;
  pause(button);
  button.addEventListener("click", () => {
    if (playing.has(button)) return pause(button);
    if (!next(button) || calm.matches) return;
    playing.set(button, setInterval(() => { if (!next(button)) pause(button); }, 500));
    button.textContent = "Pause";
  });
}

document.addEventListener("pointerover", (event) => {
  const token = event.target.closest("i.t[data-i]");
  if (token) show(token); else if (!event.target.closest(".plot")) leave();
});
document.addEventListener("pointermove", (event) => {
  const chart = event.target.closest(".plot");
  if (chart) tellNearest(chart, event.clientX);
});
document.addEventListener("scroll", place, true);
document.addEventListener("keydown", (event) => {  // arrows walk through the strip or the chart that has the focus
  const focus = document.activeElement, step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const strip = focus.closest(".strip"), chart = focus.closest(".plot");
  if (event.key === "Escape") leave();
  if (!step || !(strip || chart)) return;
  event.preventDefault();
  if (chart) {
    const number = chart === plot ? at + step : 0;
    if (number in marksOf(chart)) tellMark(chart, number);
    return;
  }
  const tokens = [...strip.querySelectorAll("i.t")];
  const token = tokens[current && strip.contains(current) ? tokens.indexOf(current) + step : 0];
  if (token) { token.scrollIntoView({ block: "nearest", inline: "nearest" }); show(token); }
});

// Where one is: the last place of the contents whose top is at the top of the window or above.
const links = [...document.querySelectorAll("nav a")];
const places = new Map(links.map((link) => {
  const target = document.querySelector(link.hash);
  return [link, target.closest("details") ?? target];  // a folded task is where its name stands
}));
let asked = false;

function here() {
  asked = false;
  const atEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 2;
  const passed = links.filter((link) => {
    const box = places.get(link).getBoundingClientRect();
    return (box.width || box.height) && box.top < (atEnd ? innerHeight : 140);
  });
  const top = (link) => places.get(link).getBoundingClientRect().top;
  const last = passed.reduce((best, other) => (top(other) >= top(best) ? other : best), links[0]);
  // At the end of the page, several places are as near as they can get: the one asked for counts.
  const link = (atEnd && passed.find((link) => link.hash === location.hash && top(link) >= 0)) || last;
  const whole = document.querySelector("nav a[href='#tasks']");
  for (const other of links) {
    const on = other === link ? "true" : null;
    if (on === other.getAttribute("aria-current")) continue;
    if (on) other.setAttribute("aria-current", on); else other.removeAttribute("aria-current");
  }
  whole.classList.toggle("around", link.closest(".names") !== null);
  const names = document.querySelector(".names"), at = link.offsetTop - names.offsetTop;
  if (names.contains(link) && (at < names.scrollTop || at + link.offsetHeight > names.scrollTop + names.clientHeight))
    names.scrollTop = at - names.clientHeight / 2;
}

function askHere() { if (!asked) { asked = true; requestAnimationFrame(here); } }
for (const name of ["scroll", "toggle"]) document.addEventListener(name, askHere, true);
for (const name of ["resize", "hashchange"]) addEventListener(name, askHere);
here();

// Tasks fold all at once, and a search leaves those whose names have the words.
const tasks = [...document.querySelectorAll("details.task")], fold = document.getElementById("fold");
function nameFold() { fold.textContent = tasks.every((task) => task.open) ? "Fold all" : "Unfold all"; }
if (fold) {
  fold.hidden = false;
  fold.addEventListener("click", () => {
    const open = !tasks.every((task) => task.open);
    for (const task of tasks) task.open = open;
  });
  document.addEventListener("toggle", nameFold, true);
  nameFold();
}

const search = document.getElementById("search");
if (search) {
  const said = document.getElementById("found"), named = [...document.querySelectorAll("[data-task]")];
  const all = new Set(named.map((element) => element.dataset.task));
  search.closest(".search").hidden = false;
  search.addEventListener("input", () => {
    const words = search.value.toLowerCase().split(/\s+/);
    const shown = new Set([...all].filter((name) => words.every((word) => name.toLowerCase().includes(word))));
    for (const element of named) element.hidden = !shown.has(element.dataset.task);
    said.textContent = `${shown.size.toLocaleString("en")} of ${all.size.toLocaleString("en")} tasks shown`;
    askHere();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && event.target !== search) { event.preventDefault(); search.focus(); }
    if (event.key === "Escape" && event.target === search) { search.value = ""; search.dispatchEvent(new Event("input")); }
    if (event.key === "Enter" && event.target === search) {
      event.preventDefault();  // otherwise the same key would fold the task again
      const task = tasks.find((task) => !task.hidden);
      if (task) { task.open = true; task.querySelector("summary").focus(); task.scrollIntoView(); }
    }
  });
}
