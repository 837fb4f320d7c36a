"use strict";
// Class toggles, filters of the gallery, and the large view. Everything works with the keyboard alone.
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const hiddenClasses = document.getElementById("hidden-classes");
const boxes = all("#classes-shown input[data-class]");

function showClasses() {
  const off = boxes.filter((box) => !box.checked).map((box) => `.o.c${box.dataset.class}`);
  hiddenClasses.textContent = off.length ? `${off.join(",")}{display:none}` : "";
}
for (const box of boxes) box.addEventListener("change", showClasses);
for (const button of all("#classes-shown button[data-all]"))
  button.addEventListener("click", () => {
    for (const box of boxes) box.checked = button.dataset.all === "1";
    showClasses();
  });
document.getElementById("fill")?.addEventListener("change", (event) =>
  document.body.classList.toggle("nofill", !event.target.checked));

const tiles = all(".gallery > li");
const filters = all("select[data-filter]");
const count = document.getElementById("tiles-shown");
function filterTiles() {
  let shown = 0;
  for (const tile of tiles) {
    tile.hidden = filters.some((each) => each.value && tile.dataset[each.dataset.filter] !== each.value);
    shown += tile.hidden ? 0 : 1;
  }
  if (count) count.textContent = `${shown} of ${tiles.length} shown`;
}
for (const each of filters) each.addEventListener("change", filterTiles);

// The large view: zoom by + and -, the wheel or the buttons; drag or Shift and arrows move; arrows go on.
const dialog = document.getElementById("large");
if (dialog) {
  const stage = dialog.querySelector(".stage");
  let current = 0, svg = null, view = null, whole = null;
  const visible = () => tiles.filter((tile) => !tile.hidden);
  const setView = () => svg.setAttribute("viewBox", `${view.x} ${view.y} ${view.w} ${view.h}`);
  function open(place) {
    const list = visible();
    current = (place + list.length) % list.length;
    const tile = list[current];
    svg = tile.querySelector("svg").cloneNode(true);
    const { x, y, width, height } = svg.viewBox.baseVal;
    whole = { x, y, w: width, h: height };
    view = { ...whole };
    stage.replaceChildren(svg);
    document.getElementById("large-name").textContent =
      `${current + 1} of ${list.length}: ${tile.querySelector(".words").innerText.replaceAll("\n", ", ")}`;
    if (!dialog.open) dialog.showModal();
  }
  function zoom(factor) {
    const w = Math.min(whole.w, view.w * factor), h = Math.min(whole.h, view.h * factor);
    view = { x: view.x + (view.w - w) / 2, y: view.y + (view.h - h) / 2, w, h };
    keepInside();
  }
  function move(dx, dy) {
    view.x += dx * view.w;
    view.y += dy * view.h;
    keepInside();
  }
  function keepInside() {
    view.x = Math.max(whole.x, Math.min(view.x, whole.x + whole.w - view.w));
    view.y = Math.max(whole.y, Math.min(view.y, whole.y + whole.h - view.h));
    setView();
  }
  const actions = {
    previous: () => open(current - 1), next: () => open(current + 1), in: () => zoom(1 / 1.5), out: () => zoom(1.5),
    whole: () => { view = { ...whole }; setView(); }, close: () => dialog.close(),
  };
  const keys = { "+": "in", "=": "in", "-": "out", "0": "whole", ArrowLeft: "previous", ArrowRight: "next" };
  const steps = { ArrowLeft: [-0.2, 0], ArrowRight: [0.2, 0], ArrowUp: [0, -0.2], ArrowDown: [0, 0.2] };
  for (const button of all("button[data-do]", dialog))
    button.addEventListener("click", () => actions[button.dataset.do]());
  dialog.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = steps[event.key];
    if (step && (event.shiftKey || step[1])) move(...step);
    else if (event.key in keys) actions[keys[event.key]]();
    else return;
    event.preventDefault();
  });
  stage.addEventListener("wheel", (event) => { zoom(event.deltaY < 0 ? 1 / 1.2 : 1.2); event.preventDefault(); }, { passive: false });
  stage.addEventListener("pointermove", (event) => {
    if (event.buttons) move(-event.movementX / stage.clientWidth, -event.movementY / stage.clientHeight);
  });
  for (const tile of tiles)
    tile.querySelector("button").addEventListener("click", () => open(visible().indexOf(tile)));
  dialog.addEventListener("close", () => visible()[current]?.querySelector("button").focus());
}
