// The viewer of `sodkit visualize --html`, its first part: boxes, and how they are drawn.
//
// One image is shown at a time. Coordinates of boxes are image pixels. `view` says what the canvas
// shows: its left top corner is at image point (x, y), and an image pixel has `scale` CSS pixels.
// Nothing is matched here: a box has the scores at which it is drawn (see `boxesOf`).

const data = JSON.parse(document.getElementById("data").textContent);
const pictures = document.getElementsByClassName("picture");
const byId = (id) => document.getElementById(id);
const canvas = byId("canvas");
const pen = canvas.getContext("2d");

const ALL_KINDS = {
  object: { text: "objects", line: "closed", modes: ["objects"], key: "o" },
  prediction: { text: "predictions", line: "closed", modes: ["predictions"], key: "o" },
  found: { text: "found", line: "closed", modes: ["compared"], key: "f" },
  false: { text: "false", line: "dashed", modes: ["compared"], key: "x" },
  missed: { text: "missed", line: "corners", modes: ["compared"], key: "m" },
  truth: { text: "ground truth (found)", line: "corners", modes: ["compared"], key: "o", off: true },
};
const KINDS = Object.entries(ALL_KINDS).filter(([, kind]) => kind.modes.includes(data.mode));
const ERRORS = ["false", "missed"];
const GAP = 2; // CSS pixels between an object and its line
const WIDTH = 1.5; // of lines
const CLICK = 4; // CSS pixels that a click may move, or be beside a box
const LARGEST_SCALE = 64;

const state = {
  index: 0, // of the image
  picture: null, // decoded; null: not yet
  view: { x: 0, y: 0, scale: 1 },
  fitted: true, // the whole image is shown, also after the window has changed
  score: data.start.score,
  kinds: new Set(),
  classes: new Set(data.classes.keys()),
  labels: data.start.labels,
  ignore: data.start.ignore,
  current: null, // the box that was stepped to, or clicked
};

// ---- Boxes ----

// Return an image's boxes. A box is drawn at scores above `above`, up to `until`.
function boxesOf(image, index) {
  const objects = image.objects.flatMap(([label, foundAt, ...corners]) => {
    if (data.mode === "objects") return [box(index, "object", label, corners, -1, 1)];
    const missed = box(index, "missed", label, corners, foundAt, 1);
    return foundAt < 0 ? [missed] : [missed, box(index, "truth", label, corners, -1, foundAt)];
  });
  const detections = image.detections.map(([label, score, right, ...corners]) => {
    const kind = data.mode === "predictions" ? "prediction" : right ? "found" : "false";
    return { ...box(index, kind, label, corners, -1, score), score };
  });
  return [...objects, ...detections.sort((a, b) => a.score - b.score)]; // the best is drawn last
}

function box(image, kind, label, corners, above, until) {
  const xs = corners.filter((_, k) => k % 2 === 0);
  const ys = corners.filter((_, k) => k % 2 === 1);
  const [left, right, top, bottom] =
    [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const width = Math.hypot(xs[1] - xs[0], ys[1] - ys[0]);
  const height = Math.hypot(xs[3] - xs[0], ys[3] - ys[0]);
  return { image, kind, label, above, until, xs, ys, left, right, top, bottom, width, height };
}

const boxes = data.images.map(boxesOf);
const every = boxes.flat();

const atScore = (one) => one.above < state.score && state.score <= one.until;
const isShown = (one) => atScore(one) && state.kinds.has(one.kind) && state.classes.has(one.label);

// Return the corners (x, y) of a box whose sides are moved out by `gap` image pixels.
function grown({ xs, ys, width, height }, gap) {
  const along = [(xs[1] - xs[0]) / (width || 1) * gap, (ys[1] - ys[0]) / (width || 1) * gap];
  const across = [(xs[3] - xs[0]) / (height || 1) * gap, (ys[3] - ys[0]) / (height || 1) * gap];
  return [[-1, -1], [1, -1], [1, 1], [-1, 1]].map(
    ([a, b], k) => [xs[k] + a * along[0] + b * across[0], ys[k] + a * along[1] + b * across[1]]);
}

// ---- View ----

const image = () => data.images[state.index];
const size = () => [canvas.clientWidth, canvas.clientHeight];

function fitScale() {
  const [width, height] = size();
  return Math.min(width / image().width, height / image().height) * 0.97;
}

// Show an image point in the middle of the canvas; the middle never leaves the image.
function centre(x, y, scale) {
  const [width, height] = size();
  const kept = Math.max(Math.min(fitScale(), 1) / 2, Math.min(LARGEST_SCALE, scale));
  const inside = (value, end) => Math.max(0, Math.min(end, value));
  state.view = {
    x: inside(x, image().width) - width / 2 / kept,
    y: inside(y, image().height) - height / 2 / kept,
    scale: kept,
  };
  state.fitted = false;
  redraw();
}

function middle() {
  const { x, y, scale } = state.view;
  const [width, height] = size();
  return [x + width / 2 / scale, y + height / 2 / scale];
}

function fit() {
  centre(image().width / 2, image().height / 2, fitScale());
  state.fitted = true;
}

// Magnify by `factor`; the image point at (left, top) of the canvas stays there.
function zoom(factor, left = canvas.clientWidth / 2, top = canvas.clientHeight / 2) {
  const { x, y, scale } = state.view;
  const next = Math.max(Math.min(fitScale(), 1) / 2, Math.min(LARGEST_SCALE, scale * factor));
  const [width, height] = size();
  centre(x + left / scale + (width / 2 - left) / next, y + top / scale + (height / 2 - top) / next, next);
}

function pan(right, down) {
  const [x, y] = middle();
  centre(x + right / state.view.scale, y + down / state.view.scale, state.view.scale);
}

// ---- Drawing ----

let asked = false;
function redraw() {
  if (!asked) requestAnimationFrame(draw);
  asked = true;
}

function draw() {
  asked = false;
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = size();
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  if (!data.images.length) return;
  drawPicture(width, height, ratio);
  const { x, y, scale } = state.view;
  const near = (one) => one.right >= x && one.bottom >= y && one.left <= x + width / scale && one.top <= y + height / scale;
  const visible = boxes[state.index].filter((one) => isShown(one) && near(one));
  if (state.ignore !== "hide") drawIgnored(width, height, ratio);
  drawBoxes(visible);
  drawTags(visible);
  if (state.current?.image === state.index && isShown(state.current)) drawRing(state.current);
}

const onScreen = ([x, y]) => [(x - state.view.x) * state.view.scale, (y - state.view.y) * state.view.scale];

// Draw the visible part of the picture, which may be smaller than the image that it stands for.
function drawPicture(width, height, ratio) {
  const { x, y, scale } = state.view;
  const [left, top] = [Math.max(0, x), Math.max(0, y)];
  const right = Math.min(image().width, x + width / scale);
  const bottom = Math.min(image().height, y + height / scale);
  const place = [...onScreen([left, top]), (right - left) * scale, (bottom - top) * scale];
  if (!state.picture || right <= left || bottom <= top) {
    pen.fillStyle = "#22242a";
    pen.fillRect(...place);
    return;
  }
  const parts = state.picture.naturalWidth / image().width;
  const down = state.picture.naturalHeight / image().height;
  pen.imageSmoothingEnabled = scale * ratio < 2 * parts; // magnified, pixels are squares
  pen.imageSmoothingQuality = "medium";
  pen.drawImage(
    state.picture, left * parts, top * down, (right - left) * parts, (bottom - top) * down, ...place);
}

// Draw boxes in groups of one colour and line; all dark rims first, so that none dims a line.
function drawBoxes(visible) {
  const groups = Map.groupBy(visible, (one) => `${data.classes[one.label].colour} ${one.kind}`);
  const paths = [...groups.values()].map((group) => {
    const line = ALL_KINDS[group[0].kind].line;
    const path = new Path2D();
    for (const one of group) trace(path, one, line);
    return { path, line, colour: data.classes[group[0].label].colour };
  });
  for (const { path, line } of paths) stroke(path, "rgba(0, 0, 0, .55)", WIDTH + 1.6, line);
  for (const { path, line, colour } of paths) stroke(path, colour, WIDTH, line);
}

function stroke(path, colour, width, line) {
  pen.strokeStyle = colour;
  pen.lineWidth = width;
  pen.setLineDash(line === "dashed" ? [4, 3] : []);
  pen.stroke(path);
  pen.setLineDash([]);
}

// Add a box's line to a path: around the object, corners farther out.
function trace(path, one, line) {
  const gap = GAP + WIDTH / 2 + (line === "corners" ? WIDTH + 1.3 : 0);
  const corners = grown(one, gap / state.view.scale).map(onScreen);
  if (line !== "corners") {
    addPolygon(path, corners);
    return;
  }
  corners.forEach(([x, y], k) => {
    const [before, after] = [corners[(k + 3) % 4], corners[(k + 1) % 4]];
    path.moveTo(x + 0.3 * (before[0] - x), y + 0.3 * (before[1] - y));
    path.lineTo(x, y);
    path.lineTo(x + 0.3 * (after[0] - x), y + 0.3 * (after[1] - y));
  });
}

function addPolygon(path, corners) {
  corners.forEach(([x, y], k) => (k ? path.lineTo(x, y) : path.moveTo(x, y)));
  path.closePath();
}

// Outline what is ignored; masked, darken it first, except where objects lie.
function drawIgnored(width, height, ratio) {
  const outlines = new Path2D();
  for (const flat of image().ignored) {
    const corners = flat.flatMap((x, k) => (k % 2 ? [] : [onScreen([x, flat[k + 1]])]));
    addPolygon(outlines, corners);
  }
  if (!image().ignored.length) return;
  if (state.ignore === "mask") drawMask(outlines, width, height, ratio);
  stroke(outlines, data.ignored, 1, "closed");
}

const layer = document.createElement("canvas");
const hatch = makeHatch();

function drawMask(outlines, width, height, ratio) {
  [layer.width, layer.height] = [canvas.width, canvas.height];
  const brush = layer.getContext("2d");
  brush.setTransform(ratio, 0, 0, ratio, 0, 0);
  brush.fillStyle = "rgba(34, 34, 40, .72)";
  brush.fill(outlines);
  brush.fillStyle = brush.createPattern(hatch, "repeat");
  brush.fill(outlines);
  brush.globalCompositeOperation = "destination-out";
  const objects = new Path2D();
  for (const one of objectsInMask()) addPolygon(objects, grown(one, 0).map(onScreen));
  brush.fill(objects);
  pen.drawImage(layer, 0, 0, width, height);
}

let inMask = { index: -1, objects: [] }; // of the image that was drawn last

// Return the objects that may lie in what is ignored, whether they are drawn or not.
function objectsInMask() {
  if (inMask.index === state.index) return inMask.objects;
  const parts = image().ignored.map((flat) => box(state.index, "ignored", -1, flat, 0, 0));
  const meets = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  const objects = boxes[state.index].filter(
    (one) => ["missed", "object"].includes(one.kind) && parts.some((part) => meets(one, part)));
  inMask = { index: state.index, objects };
  return objects;
}

function makeHatch() {
  const tile = document.createElement("canvas");
  [tile.width, tile.height] = [10, 10];
  const brush = tile.getContext("2d");
  brush.strokeStyle = "rgba(104, 104, 110, .72)";
  for (const shift of [-10, 0, 10]) {
    brush.moveTo(shift, 10);
    brush.lineTo(shift + 10, 0);
  }
  brush.stroke();
  return tile;
}

function drawTags(visible) {
  pen.font = "12px system-ui, sans-serif";
  pen.lineWidth = 3;
  pen.lineJoin = "round";
  pen.strokeStyle = "rgba(0, 0, 0, .75)";
  visible.forEach(drawTag);
}

function drawTag(one) {
  const text = tagOf(one);
  if (!text) return;
  const [left, top] = onScreen([one.left, one.top]);
  const below = onScreen([one.left, one.bottom])[1] + GAP + 15;
  const y = top < 20 ? below : top - GAP - 6;
  pen.strokeText(text, left, y);
  pen.fillStyle = data.classes[one.label].colour;
  pen.fillText(text, left, y);
}

// Return what stands beside a box; classes with an earlier one's colour show their letter at least.
function tagOf(one) {
  if (one.kind === "truth") return ""; // the detection that found it has its own
  const { letter } = data.classes[one.label];
  const named = state.labels === "class" || state.labels === "both";
  const scored = one.score !== undefined && (state.labels === "score" || state.labels === "both");
  return [named ? className(one.label) : letter, scored ? short(one.score) : ""].filter(Boolean).join(" ");
}

function drawRing(one) {
  const [x, y] = onScreen([(one.left + one.right) / 2, (one.top + one.bottom) / 2]);
  const radius = Math.hypot(one.width, one.height) / 2 * state.view.scale + 12;
  const ring = new Path2D();
  ring.arc(x, y, radius, 0, 2 * Math.PI);
  stroke(ring, "rgba(0, 0, 0, .6)", 4, "closed");
  stroke(ring, "#fff", 2, "closed");
}
