"use strict";
// Cases come once, pictures one by one. Verdicts go to the file at once; every answer brings all verdicts that stand
// there, those of other people too. A verdict names the one that this page showed, so that none is overwritten unseen.
const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
let cases = [], verdicts = {}, shown = [], place = 0, undone = [], view = null, whole = null, layer = "truth", masks = true;
const pictures = new Map();

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("the server does not answer; was augforge review ended?");
  }
  const data = await answer.json().catch(() => ({ error: answer.statusText }));
  if (!answer.ok) throw Object.assign(new Error(data.error), { data, status: answer.status });
  return data;
}

const same = (a, b) => (a?.verdict ?? null) === (b?.verdict ?? null) && (a?.why ?? "") === (b?.why ?? "");
const normal = (name) => name.normalize("NFC");
const verdictOf = (name) => verdicts[normal(name)] ?? null;

function filterCases(stay) {
  const state = $("state").value, kind = $("kind").value, part = $("search").value.toLowerCase();
  shown = cases.map((each, i) => i).filter((i) => {
    const verdict = verdictOf(cases[i].name)?.verdict;
    return (i === stay || !state || (state === "open" ? !verdict : verdict === state))
      && (!kind || cases[i].reasons.some((reason) => reason.kind === kind))
      && cases[i].name.toLowerCase().includes(part);
  });
  place = stay === undefined ? 0 : Math.max(0, shown.indexOf(stay));
  show();
}

function show() {
  const judged = cases.filter((each) => verdictOf(each.name)).length;
  $("progress").textContent = `${judged} of ${cases.length} judged.`;
  $("found").textContent = shown.length ? `${place + 1} of ${shown.length}` : "none";
  const one = cases[shown[place]];
  for (const button of document.querySelectorAll("[data-do]"))
    if (!["undo"].includes(button.dataset.do)) button.disabled = !one;
  $("name").textContent = one ? one.name : cases.length ? "Nothing is left here" : "There is nothing to judge";
  $("where").textContent = one ? [one.group !== one.name && one.group, one.split].filter(Boolean).join(", ") : "";
  $("reasons").replaceChildren(...(one?.reasons ?? []).map((reason) => {
    const item = document.createElement("li"), kind = document.createElement("b");
    kind.textContent = reason.kind;
    const score = reason.score === null ? "" : ` (score ${Number(reason.score.toPrecision(3))})`;
    item.append(kind, `: ${reason.text}${score}`);
    return item;
  }));
  showVerdict(one);
  if (one) showPicture(shown[place]);
  else $("stage").replaceChildren();
}

function showVerdict(one) {
  const verdict = one ? verdictOf(one.name) : null;
  $("verdict").textContent = verdict ? verdict.verdict : "none";
  $("verdict").dataset.verdict = verdict?.verdict ?? "";
  if (document.activeElement !== $("why")) $("why").value = verdict?.why ?? "";
}

// ---- pictures

function picture(i) {
  if (!pictures.has(i)) {
    pictures.set(i, ask(`picture/${i}`));
    if (pictures.size > 12) pictures.delete(pictures.keys().next().value);
  }
  return pictures.get(i);
}

async function showPicture(i) {
  $("stage").setAttribute("aria-busy", "true");
  try {
    const found = await picture(i);
    if (shown[place] === i) draw(found);
    if (shown[place + 1] !== undefined) picture(shown[place + 1]).catch(() => {});
  } catch (error) {
    pictures.delete(i);
    if (shown[place] !== i) return;
    const text = document.createElement("p");
    text.textContent = `The picture cannot be shown: ${error.message}`;
    $("stage").replaceChildren(text);
  } finally {
    $("stage").removeAttribute("aria-busy");
  }
}

function node(tag, attributes, title) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (title !== undefined) made.append(Object.assign(document.createElementNS(SVG, "title"), { textContent: title }));
  return made;
}

let drawn = null;
function draw(found) {
  drawn = found;
  if (found.prediction === null) layer = "truth";
  const outlines = masks ? found[layer] : [];
  const svg = node("svg", { role: "img", "aria-label": `${cases[shown[place]].name}, ${layer === "truth" ? "labels" : "prediction"}` });
  svg.append(node("image", { href: found.picture, width: found.width, height: found.height }));
  for (const { name, colour, path } of outlines)
    svg.append(node("path", { class: layer === "truth" ? "o" : "o guess", d: path, fill: colour, stroke: colour }, name));
  for (const [x0, y0, x1, y1] of found.boxes)
    svg.append(node("rect", { class: "box", x: x0 - 3, y: y0 - 3, width: x1 - x0 + 6, height: y1 - y0 + 6 }));
  $("stage").replaceChildren(svg);
  whole = { x: 0, y: 0, w: found.width, h: found.height };
  view = view?.of === found ? view : { ...whole, of: found };
  setView();
  $("switch").hidden = found.prediction === null;
  $("layer").textContent = !masks ? "off" : layer === "truth" ? "labels" : "prediction";
  $("legend").replaceChildren(...outlines.map(({ name, colour }) => {
    const chip = Object.assign(document.createElement("span"), { className: "chip" });
    chip.style.background = colour;
    const entry = document.createElement("span");
    entry.append(chip, `${name} \u00a0 `);
    return entry;
  }));
}

const setView = () => $("stage").querySelector("svg")?.setAttribute("viewBox", `${view.x} ${view.y} ${view.w} ${view.h}`);
function zoom(factor) {
  if (!view) return;
  const w = Math.min(whole.w, view.w * factor), h = Math.min(whole.h, view.h * factor);
  view = { ...view, x: view.x + (view.w - w) / 2, y: view.y + (view.h - h) / 2, w, h };
  move(0, 0);
}
function move(dx, dy) {
  if (!view) return;
  view.x = Math.max(0, Math.min(view.x + dx * view.w, whole.w - view.w));
  view.y = Math.max(0, Math.min(view.y + dy * view.h, whole.h - view.h));
  setView();
}

// ---- verdicts

let busy = false;
async function send(name, verdict, seen, { going = true, remember = true } = {}) {
  if (busy) return;
  busy = true;
  try {
    const body = JSON.stringify({ name: normal(name), verdict, seen });
    const answer = await ask("verdict", { method: "POST", headers: { "content-type": "application/json" }, body });
    verdicts = answer.verdicts;
    if (remember) undone.push({ name, before: seen, after: verdict });
    document.querySelector("[data-do=undo]").disabled = !undone.length;
    tell(null);
    if (document.activeElement === $("why")) $("why").blur();
    goOn(name, going);
  } catch (error) {
    if (error.status === 409) conflict(name, verdict, seen, error.data.present);
    else tell(`Not saved: ${error.message}`);
  } finally {
    busy = false;
  }
}

function goOn(name, going) {
  const i = cases.findIndex((each) => each.name === name);
  const next = going ? shown[place + 1] : i;
  filterCases(next ?? (going ? shown[place] : i));
}

function conflict(name, mine, seen, theirs) {
  const words = (verdict) => (verdict ? `${verdict.verdict}${verdict.why ? ` (${verdict.why})` : ""}` : "no verdict");
  if (theirs) verdicts[normal(name)] = theirs;
  else delete verdicts[normal(name)];
  tell(`Somebody else judged ${name} meanwhile: ${words(theirs)}. Yours: ${words(mine)}.`, [
    ["keep theirs", () => { tell(null); goOn(name, false); }],
    ["write mine", () => send(name, mine, theirs, { going: false })],
  ]);
  show();
}

function tell(text, actions = []) {
  $("problem").hidden = text === null;
  $("problem").querySelector("p").textContent = text ?? "";
  $("problem").querySelector(".row").replaceChildren(...actions.map(([label, act]) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: label });
    button.addEventListener("click", act);
    return button;
  }));
  if (actions.length) $("problem").querySelector("button").focus();
}

function judge(verdict) {
  const one = cases[shown[place]];
  if (!one) return;
  const said = verdict && { verdict, why: $("why").value.trim() }, seen = verdictOf(one.name);
  if (same(said, seen)) step(1);
  else send(one.name, said, seen);
}

function undo() {
  const last = undone.pop();
  document.querySelector("[data-do=undo]").disabled = !undone.length;
  if (!last) return;
  send(last.name, last.before, last.after, { going: false, remember: false });
}

function step(by) {
  if (!shown.length) return;
  place = Math.max(0, Math.min(place + by, shown.length - 1));
  show();
}

const actions = {
  keep: () => judge("keep"), drop: () => judge("drop"), clear: () => judge(null), undo,
  next: () => step(1), previous: () => step(-1), in: () => zoom(1 / 1.5), out: () => zoom(1.5),
  whole: () => { if (view) { Object.assign(view, whole); setView(); } },
  masks: () => { masks = !masks; if (drawn) draw(drawn); },
  switch: () => { if (drawn?.prediction) { layer = layer === "truth" ? "prediction" : "truth"; draw(drawn); } },
  reason: () => { $("why").focus(); $("why").select(); },
};
const keys = {
  k: "keep", d: "drop", c: "clear", u: "undo", n: "next", p: "previous", m: "masks", t: "switch", r: "reason",
  ArrowRight: "next", ArrowLeft: "previous", "+": "in", "=": "in", "-": "out", "0": "whole",
};
const steps = { ArrowLeft: [-0.2, 0], ArrowRight: [0.2, 0], ArrowUp: [0, -0.2], ArrowDown: [0, 0.2] };
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const writing = event.target.closest("input, textarea, select");
  if (writing) {
    if (event.key === "Escape") writing.blur();
    else if (event.key === "Enter" && writing.id === "why" && !event.shiftKey) {
      event.preventDefault();
      const verdict = cases[shown[place]] && verdictOf(cases[shown[place]].name);
      if (verdict) judge(verdict.verdict);
      else writing.blur();
    }
    return;
  }
  if (event.shiftKey && steps[event.key]) move(...steps[event.key]);
  else if (event.key in keys) actions[keys[event.key]]();
  else return;
  event.preventDefault();
});
for (const button of document.querySelectorAll("[data-do]"))
  button.addEventListener("click", () => actions[button.dataset.do]());
for (const id of ["state", "kind"]) $(id).addEventListener("change", () => filterCases());
$("search").addEventListener("input", () => filterCases());
$("stage").addEventListener("wheel", (event) => { zoom(event.deltaY < 0 ? 1 / 1.2 : 1.2); event.preventDefault(); }, { passive: false });
$("stage").addEventListener("pointermove", (event) => {
  if (event.buttons) move(-event.movementX / $("stage").clientWidth, -event.movementY / $("stage").clientHeight);
});

// What others said since is fetched when one comes back to the page, and now and then.
async function refresh() {
  if (busy || document.hidden) return;
  try {
    const answer = await ask("verdicts");
    if (busy || JSON.stringify(answer.verdicts) === JSON.stringify(verdicts)) return;
    verdicts = answer.verdicts;
    showVerdict(cases[shown[place]]);
    $("progress").textContent = `${cases.filter((each) => verdictOf(each.name)).length} of ${cases.length} judged.`;
  } catch (error) {
    tell(error.message);
  }
}
document.addEventListener("visibilitychange", refresh);
setInterval(refresh, 5000);

ask("cases").then((answer) => { ({ cases, verdicts } = answer); filterCases(); }, (error) => tell(error.message));
