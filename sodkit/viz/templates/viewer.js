// The viewer's second part: images, steps, panel, mouse, touch and keys.
//
// It goes on where viewer_canvas.js ends: both are one script in the page. Names of classes and files
// become text nodes, never markup.

// ---- Images and steps ----

// Show an image: whole, or as `show` says.
async function openImage(index, show = fit) {
  state.index = (index + data.images.length) % data.images.length;
  state.picture = null;
  show();
  describe();
  history.replaceState(null, "", `#image=${image().id}`);
  const picture = new Image();
  const opened = image();
  picture.src = `data:image/jpeg;base64,${pictures[state.index].textContent}`;
  try {
    await picture.decode();
  } catch {
    byId("summary").append(" · this picture cannot be shown: is the file whole?");
    return;
  }
  if (opened !== image()) return; // another one was asked for meanwhile
  state.picture = picture;
  redraw();
}

function turn(images) {
  state.current = null;
  openImage(state.index + images);
}

// Go to the next box (by = 1) or back (-1): among errors if any kind of them is switched on.
function step(by) {
  const errors = ERRORS.some((kind) => state.kinds.has(kind));
  const list = every.filter((one) => isShown(one) && (!errors || ERRORS.includes(one.kind)));
  if (!list.length) {
    state.current = null;
    describe("there is no such box on any image");
    return;
  }
  let at = list.indexOf(state.current);
  if (at >= 0) at += by;
  else if (by > 0) at = list.findIndex((one) => one.image >= state.index);
  else at = list.findLastIndex((one) => one.image <= state.index);
  at = (at + list.length) % list.length;
  select(list[at], `${at + 1} of ${list.length}: `);
  const show = () => approach(list[at]);
  if (list[at].image === state.index) show();
  else openImage(list[at].image, show);
}

// Centre a box; magnify if it would be hard to see, or too large.
function approach(one) {
  const side = Math.max(one.width, one.height, 1);
  const room = Math.min(...size());
  const seen = side * state.view.scale;
  const scale = seen > 40 && seen < room / 3 ? state.view.scale : Math.min(room / 8 / side, 16);
  centre((one.left + one.right) / 2, (one.top + one.bottom) / 2, scale);
}

let before = "";
function select(one, text = "") {
  state.current = one;
  before = text;
  describe();
}

// Return the smallest drawn box at a place of the canvas.
function boxAt(left, top) {
  const [x, y] = [state.view.x + left / state.view.scale, state.view.y + top / state.view.scale];
  const near = (GAP + CLICK) / state.view.scale;
  const inside = (one) => {
    const corners = grown(one, near);
    return corners.every(([cx, cy], k) => {
      const [dx, dy] = corners[(k + 1) % 4];
      return (dx - cx) * (y - cy) - (dy - cy) * (x - cx) >= 0; // on the right of each side
    });
  };
  const hits = boxes[state.index].filter((one) => isShown(one) && inside(one));
  return hits.sort((a, b) => a.width * a.height - b.width * b.height)[0] ?? null;
}

// ---- Panel ----

const short = (score) => score.toFixed(2).replace(/^0/, "");

function className(label) {
  const { name, letter } = data.classes[label];
  return letter ? `${name} (${letter})` : name;
}

// Say what is shown; `message` stands in place of the chosen box.
function describe(message = "") {
  const { width, height } = image();
  byId("summary").textContent = `image ${state.index + 1} of ${data.images.length} · ${width} × ${height} px`;
  byId("image").value = state.index;
  byId("score").value = state.score;
  byId("score-shown").textContent = String(Number(state.score.toFixed(3))).replace(/^0\./, ".");
  byId("labels").value = state.labels;
  byId("ignore").value = state.ignore;
  const one = state.current;
  byId("current").textContent = message || (one && isShown(one) ? before + sentence(one) : "");
  count();
  redraw();
}

function sentence(one) {
  const kind = one.kind === "truth" ? "ground truth, found" : one.kind;
  const sides = `${one.width.toFixed(0)} × ${one.height.toFixed(0)} px`;
  const score = one.score === undefined ? "" : ` · score ${short(one.score)}`;
  const lower = one.kind === "missed" && one.above >= 0 ? ` · found at scores up to ${short(one.above)}` : "";
  return `${kind} · ${className(one.label)} · ${sides}${score}${lower}`;
}

// Write how many boxes there are: of each kind in the chosen classes, of each class in chosen kinds.
function count() {
  const zeros = () => [0, 0];
  const kinds = new Map(KINDS.map(([name]) => [name, zeros()]));
  const classes = data.classes.map(zeros);
  for (const one of every) {
    if (!atScore(one)) continue;
    const here = one.image === state.index;
    const add = (pair) => { pair[0] += here; pair[1] += 1; };
    if (state.classes.has(one.label)) add(kinds.get(one.kind));
    if (state.kinds.has(one.kind)) add(classes[one.label]);
  }
  for (const row of byId("kinds").tBodies[0].rows) fill(row, kinds.get(row.dataset.kind), state.kinds.has(row.dataset.kind));
  for (const row of byId("classes").tBodies[0].rows) fill(row, classes[row.dataset.label], state.classes.has(Number(row.dataset.label)));
}

function fill(row, [here, all], on) {
  row.querySelector("input").checked = on;
  row.cells[1].textContent = here;
  row.cells[2].textContent = all;
}

// Add a row with a checkbox that switches something on and off.
function addRow(table, marks, mark, text, act) {
  const row = table.tBodies[0].insertRow();
  Object.assign(row.dataset, marks);
  const label = document.createElement("label");
  const input = document.createElement("input");
  input.type = "checkbox";
  input.addEventListener("change", act);
  label.append(input, mark, text);
  row.insertCell().append(label);
  row.insertCell();
  row.insertCell();
}

function toggle(set, value) {
  if (!set.delete(value)) set.add(value);
  describe();
}

function swatch({ colour, letter }) {
  const mark = document.createElement("span");
  mark.className = "swatch";
  mark.style.background = colour;
  mark.textContent = letter;
  return mark;
}

// Return a picture of a kind's line.
function sample(line) {
  const mark = document.createElement("canvas");
  mark.className = "sample";
  [mark.width, mark.height] = [44, 32];
  const brush = mark.getContext("2d");
  [brush.strokeStyle, brush.lineWidth] = ["#ebecf0", 3];
  brush.setLineDash(line === "dashed" ? [7, 5] : []);
  if (line === "corners") {
    for (const [x, y, right, down] of [[6, 5, 1, 1], [38, 5, -1, 1], [38, 27, -1, -1], [6, 27, 1, -1]]) {
      brush.moveTo(x + 9 * right, y);
      brush.lineTo(x, y);
      brush.lineTo(x, y + 7 * down);
    }
  } else brush.rect(6, 5, 32, 22);
  brush.stroke();
  return mark;
}

// ---- Mouse, touch, keys ----

function setScore(score) {
  state.score = Math.max(0, Math.min(1, Math.round(score * 100) / 100));
  describe();
}

function setClasses(labels) {
  state.classes = new Set(labels);
  describe();
}

function nextChoice(name) {
  const choices = [...byId(name).options].map((option) => option.value);
  state[name] = choices[(choices.indexOf(state[name]) + 1) % choices.length];
  describe();
}

const PAN = 120; // CSS pixels a key
const FACTOR = 1.3; // of a key or button
const KEYS = [
  { keys: ["ArrowLeft"], shown: "←", text: "previous image", act: () => turn(-1) },
  { keys: ["ArrowRight"], shown: "→", text: "next image", act: () => turn(1) },
  { keys: ["n"], shown: "N", text: "next", act: () => step(1) },
  { keys: ["p"], shown: "P", text: "back", act: () => step(-1) },
  { keys: [","], shown: ",", text: "lower score", act: () => setScore(state.score - 0.05), scored: true },
  { keys: ["."], shown: ".", text: "higher score", act: () => setScore(state.score + 0.05), scored: true },
  { keys: ["+", "="], shown: "+", text: "zoom in", act: () => zoom(FACTOR) },
  { keys: ["-"], shown: "-", text: "zoom out", act: () => zoom(1 / FACTOR) },
  { keys: ["0"], shown: "0", text: "whole image", act: () => fit() },
  { keys: ["1"], shown: "1", text: "1:1", act: () => actual() },
  ...KINDS.map(([name, { text, key }]) => (
    { keys: [key], shown: key.toUpperCase(), text, act: () => toggle(state.kinds, name) })),
  { keys: ["c"], shown: "C", text: "all or no classes", act: () => setClasses(state.classes.size ? [] : data.classes.keys()) },
  { keys: ["l"], shown: "L", text: "beside boxes", act: () => nextChoice("labels") },
  { keys: ["i"], shown: "I", text: "ignored", act: () => nextChoice("ignore") },
  { keys: ["?"], shown: "?", text: "this list", act: () => byId("help").toggleAttribute("open") },
].filter((key) => !key.scored || data.mode !== "objects");
const PANS = { ArrowLeft: [-PAN, 0], ArrowRight: [PAN, 0], ArrowUp: [0, -PAN], ArrowDown: [0, PAN] };

function actual() {
  centre(...middle(), 1 / (window.devicePixelRatio || 1));
}

// Keys work wherever the focus is, but for those that the control with the focus needs itself.
function pressed(event) {
  const arrow = event.key.startsWith("Arrow");
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target.matches("select") || (arrow && event.target.matches("input[type=range]"))) return;
  if (event.shiftKey && arrow) pan(...PANS[event.key]);
  else {
    const found = KEYS.find(({ keys }) => keys.includes(event.key.toLowerCase()) || keys.includes(event.key));
    if (!found) return;
    found.act();
  }
  event.preventDefault();
}

const pointers = new Map(); // those that are down: id -> [x, y] on the canvas
let moved = 0; // CSS pixels since the first went down

const place = (event) => [event.offsetX, event.offsetY];

function pointerDown(event) {
  if (!pointers.size) moved = 0;
  pointers.set(event.pointerId, place(event));
  canvas.setPointerCapture(event.pointerId);
  canvas.classList.add("dragged");
}

function pointerMove(event) {
  const last = pointers.get(event.pointerId);
  if (!last) return;
  const now = place(event);
  const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
  pointers.set(event.pointerId, now);
  moved += Math.hypot(now[0] - last[0], now[1] - last[1]);
  const share = other ? 0.5 : 1; // two fingers: their middle moves by half
  pan((last[0] - now[0]) * share, (last[1] - now[1]) * share);
  if (!other) return;
  const apart = ([x, y]) => Math.max(1, Math.hypot(x - other[0], y - other[1]));
  zoom(apart(now) / apart(last), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
}

function pointerUp(event) {
  const last = pointers.get(event.pointerId);
  pointers.delete(event.pointerId);
  if (!pointers.size) canvas.classList.remove("dragged");
  if (last && event.type === "pointerup" && moved < CLICK) select(boxAt(...last));
}

function wheel(event) {
  const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
  zoom(Math.exp(-event.deltaY * lines * 0.0015), ...place(event));
  event.preventDefault();
}

function resized() {
  const ratio = window.devicePixelRatio || 1;
  const [x, y] = state.fitted ? [0, 0] : middleOf(canvas.width / ratio, canvas.height / ratio);
  canvas.width = Math.round(canvas.clientWidth * ratio);
  canvas.height = Math.round(canvas.clientHeight * ratio);
  if (state.fitted) fit();
  else centre(x, y, state.view.scale);
}

function middleOf(width, height) {
  const { x, y, scale } = state.view;
  return [x + width / 2 / scale, y + height / 2 / scale];
}

// ---- Start ----

// Return the place of the image that the address names (viewer.html#image=ID), else 0.
function addressed() {
  const id = new URLSearchParams(location.hash.slice(1)).get("image");
  return Math.max(0, data.images.findIndex((one) => String(one.id) === id));
}

function fillPanel() {
  document.title = byId("title").textContent = data.title || "sodkit viewer";
  data.images.forEach(({ name }, k) => byId("image").add(new Option(name, k)));
  for (const [name, { text, line }] of KINDS) {
    addRow(byId("kinds"), { kind: name }, sample(line), text, () => toggle(state.kinds, name));
  }
  const there = new Set(every.map((one) => one.label));
  for (const [label, one] of data.classes.entries()) {
    if (!there.has(label)) continue;
    addRow(byId("classes"), { label }, swatch(one), one.name, () => toggle(state.classes, label));
  }
  byId("scoring").hidden = data.mode === "objects";
  for (const { shown, text } of [...KEYS, { shown: "Shift + arrows", text: "pan" }]) {
    const [line, key] = [document.createElement("span"), document.createElement("kbd")];
    key.textContent = shown;
    line.append(key, ` ${text}`);
    byId("keys").append(line, " ");
  }
}

function listen() {
  const clicks = {
    previous: () => turn(-1), next: () => turn(1), "step-back": () => step(-1), "step-on": () => step(1),
    larger: () => zoom(FACTOR), smaller: () => zoom(1 / FACTOR), fit, actual,
    "every-class": () => setClasses(data.classes.keys()), "no-class": () => setClasses([]),
  };
  for (const [id, act] of Object.entries(clicks)) byId(id).addEventListener("click", () => act());
  byId("score").addEventListener("input", () => setScore(Number(byId("score").value)));
  byId("image").addEventListener("change", () => turn(Number(byId("image").value) - state.index));
  for (const name of ["labels", "ignore"]) {
    byId(name).addEventListener("change", () => { state[name] = byId(name).value; describe(); });
  }
  canvas.addEventListener("pointerdown", pointerDown);
  canvas.addEventListener("pointermove", pointerMove);
  canvas.addEventListener("pointerup", pointerUp);
  canvas.addEventListener("pointercancel", pointerUp);
  canvas.addEventListener("wheel", wheel, { passive: false });
  document.addEventListener("keydown", pressed);
  window.addEventListener("hashchange", () => turn(addressed() - state.index));
  new ResizeObserver(resized).observe(canvas);
}

function start() {
  const { only } = data.start;
  for (const [name, kind] of KINDS) if (only ? name === only : !kind.off) state.kinds.add(name);
  fillPanel();
  if (!data.images.length) {
    byId("summary").textContent = "There is no image to show.";
    return;
  }
  listen();
  resized();
  openImage(addressed());
}

start();
