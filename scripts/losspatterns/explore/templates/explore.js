// The page of one plane: the choices of the form decide what plotly shows of the numbers in #data.
"use strict";

const run = JSON.parse(document.getElementById("data").textContent);
const form = document.getElementById("controls");
const plot = document.getElementById("plot");
const pins = []; // at most two points, [row, column] in pixel coordinates
const wanted = {}; // the split and the protocol that the reader chose last, which not every stage has
const PIN = "#ffd400";
let cursor = null; // the point that was pointed at last
let over = false; // whether it still is
let press = null; // where on the screen a press began
let tapped = false; // whether a finger tapped the relief, and plotly has not told yet where
let byKeys = false; // whether keys did, so that it wants a mark

// The numbers that the page carries compressed.
async function unpacked({ type, data }) {
  const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const kind = { f4: Float32Array, u1: Uint8Array, u2: Uint16Array, u4: Uint32Array }[type];
  return new kind(await new Response(stream).arrayBuffer());
}

// What the form says.
function chosen() {
  const of = (name) => form.elements[name].value;
  return {
    view: of("view"),
    quantity: of("quantity"),
    split: of("split"),
    protocol: of("protocol"),
    stage: Number(of("stage")),
    mask: form.elements.mask.checked,
  };
}

// The file that a stage stands in: its grid, its splits, protocols and images, its numbers.
function blockOf(choice) {
  return run.blocks[run.stages[choice.stage].block];
}

// Where the numbers of a point stand: [of which surface of the block, at which place of it]; null if the stage does not have it.
function placeOf({ stage, split, protocol }, [row, column]) {
  const block = blockOf({ stage });
  const [s, p, i, j] = Object.entries({ split, protocol, row, column }).map(([axis, label]) => block[axis].indexOf(label));
  if (Math.min(s, p, i, j) < 0) return null;
  return [(run.stages[stage].index * block.split.length + s) * block.protocol.length + p, i * block.column.length + j];
}

// How many images of each class are right at a point.
function correct(choice, point) {
  const { correct, row, column } = blockOf(choice);
  const [surface, place] = placeOf(choice, point);
  return run.classes.map((_, k) => correct[(surface * run.classes.length + k) * row.length * column.length + place]);
}

function imagesOf(choice) {
  return sum(blockOf(choice).class_images[choice.split]);
}

// A number of a point, null where there is none.
function value(quantity, choice, point) {
  const found = placeOf(choice, point);
  if (!found) return null;
  const { loss, row, column } = blockOf(choice);
  return quantity === "loss" ? loss[found[0] * row.length * column.length + found[1]] : sum(correct(choice, point)) / imagesOf(choice);
}

function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0);
}

function colourOf([row, column]) {
  if (!Number.isInteger(row) || !Number.isInteger(column)) return "between pixels";
  const targets = run.targets?.[row]?.[column]; // of a photograph
  if (targets) return `target ${targets.join(", ")}`;
  const found = run.mask[row]?.[column];
  return { "1": "white", "-1": "black", "0": "ignored" }[found] ?? "outside the picture";
}

function shown(quantity, number) {
  if (number == null) return "\u2013";
  const text = quantity === "loss" ? String(Number(number.toPrecision(4))) : number.toFixed(3);
  return text.replace("-", "\u2212");
}

function told(choice, point) {
  const numbers = ["loss", "accuracy"].map((name) => `${name} ${shown(name, value(name, choice, point))}`);
  return [`row ${point[0]}, column ${point[1]}`, colourOf(point), ...numbers];
}

function grid(choice, make) {
  const { row, column } = blockOf(choice);
  return row.map((i) => column.map((j) => make([i, j])));
}

// A colour scale of the figures: `place` is where a number lies on it, `axis` what plotly's colour bar and height axis share.
function scaleOf(choice) {
  const loss = choice.quantity === "loss";
  const scale = loss ? run.loss_scales[choice.protocol] : run.accuracy_scale;
  const place = (number) => {
    const inside = Math.min(Math.max(number, scale.low), scale.high);
    return loss ? Math.log(inside) : inside;
  };
  const all = grid(choice, (point) => value(choice.quantity, choice, point)).flat();
  const labels = scale.ticks.map(String);
  if (all.some((number) => number < scale.low)) labels[0] = `<${labels[0]}`;
  if (all.some((number) => number > scale.high)) labels[labels.length - 1] = `>${labels.at(-1)}`;
  const range = [place(scale.low), place(scale.high)];
  const title = { text: loss ? "loss (nats)" : "accuracy" };
  return { place, range, colours: scale.colours, axis: { tickvals: scale.ticks.map(place), ticktext: labels, title } };
}

// Where points lie on what is shown, for plotly: on the surface, in the relief a little above it.
function placed(choice, scale, points) {
  const lift = (scale.range[1] - scale.range[0]) * 0.02;
  const z = points.map((point) => scale.place(value(choice.quantity, choice, point)) + lift);
  return { x: points.map(([, column]) => column), y: points.map(([row]) => row), ...(choice.view === "relief" && { z }) };
}

function marks(choice, scale, points, marker) {
  const type = choice.view === "map" ? "scatter" : "scatter3d";
  return { type, ...placed(choice, scale, points), mode: "markers", marker, hoverinfo: "skip" };
}

function flags(choice, scale) {
  const look = { bgcolor: PIN, bordercolor: "black", borderpad: 3, font: { color: "black" }, arrowhead: 2, ax: 0, ay: -26 };
  const at = placed(choice, scale, pins);
  const one = (k) => Object.fromEntries(Object.entries(at).map(([axis, numbers]) => [axis, numbers[k]]));
  return [...pins.keys()].filter((k) => placeOf(choice, pins[k])).map((k) => ({ ...look, text: "AB"[k], ...one(k) }));
}

function traces(choice, scale) {
  const z = grid(choice, (point) => scale.place(value(choice.quantity, choice, point)));
  const text = grid(choice, (point) => told(choice, point).join("<br>"));
  const side = narrow() ? { orientation: "h", y: 1, yanchor: "bottom" } : {};
  const title = { ...scale.axis.title, side: narrow() ? "top" : "right" };
  const colorbar = { ...scale.axis, title, thickness: 14, outlinewidth: 0, len: 0.9, ...side };
  const surface = { x: blockOf(choice).column, y: blockOf(choice).row, z, text, hoverinfo: "text", colorscale: scale.colours, colorbar };
  const [low, high] = scale.range;
  const found = [
    choice.view === "map"
      ? { type: "heatmap", ...surface, zmin: low, zmax: high }
      : { type: "surface", ...surface, surfacecolor: z, cmin: low, cmax: high, lighting: { ambient: 0.8, diffuse: 0.5, specular: 0.05 } },
  ];
  if (choice.mask) {
    const points = grid(choice, (point) => point).flat().filter(([row, column]) => run.mask[row]?.[column]);
    const white = points.map(([row, column]) => run.mask[row][column] === 1);
    const fill = points.map(([row, column], k) => (run.shades ? `rgb(${run.shades[row][column]})` : white[k] ? "white" : "black"));
    const size = Math.min(Math.max((0.28 * plot.clientWidth) / run.blocks[0].column.length, 2), 8) / (choice.view === "map" ? 1 : 1.5);
    const line = { width: 1, color: white.map((is) => (is ? "black" : "white")) };
    found.push(marks(choice, scale, points, { size, color: fill, line, opacity: 1 }));
  }
  if (byKeys && placeOf(choice, cursor)) found.push(marks(choice, scale, [cursor], { size: 7, color: PIN, line: { width: 1, color: "black" } }));
  return found;
}

function layoutOf(choice, scale) {
  const [ink, paper, line] = ["--ink", "--paper", "--line"].map(css);
  const side = { fixedrange: true, zeroline: false, showgrid: false, constrain: "domain" };
  const height = run.mask.length;
  const width = run.mask[0].length;
  const frame = (line) => ({ type: "rect", x0: -0.5, y0: -0.5, x1: width - 0.5, y1: height - 0.5, line: { width: 1, ...line } });
  const frames = [frame({ color: "#cccccc" }), frame({ color: "#404040", dash: "dash" })]; // seen on any colour
  const wall = { gridcolor: line, zeroline: false, showspikes: false };
  const [low, high] = scale.range;
  const over = (high - low) / 50; // a surface that touches the end is drawn whole
  const away = narrow() ? 1.2 : 0.9;
  const { row, column } = run.blocks[0]; // the widest: all stages are shown in one place
  const aspect = row.length / column.length;
  const ends = (axis, more) => [axis[0] - more, axis.at(-1) + more];
  const half = (row[1] - row[0]) / 2;
  return {
    paper_bgcolor: paper,
    plot_bgcolor: paper,
    font: { color: ink, family: "system-ui, sans-serif" },
    margin: { l: narrow() ? 40 : 50, r: 10, t: narrow() ? 55 : 10, b: 45 },
    showlegend: false,
    hovermode: "closest",
    dragmode: choice.view === "map" ? false : "turntable",
    uirevision: choice.view,
    shapes: choice.view === "map" && row[0] < 0 ? frames : [],
    annotations: choice.view === "map" ? flags(choice, scale) : [],
    xaxis: { ...side, title: { text: "column" }, range: ends(column, half) },
    yaxis: { ...side, title: { text: "row" }, range: ends(row, half).reverse(), scaleanchor: "x", constraintoward: "top" },
    scene: {
      xaxis: { ...wall, title: { text: "column" }, range: ends(column, 0) },
      yaxis: { ...wall, title: { text: "row" }, range: ends(row, 0).reverse() },
      zaxis: { ...wall, ...scale.axis, ...(narrow() && { title: { text: "" } }), range: [low - over, high + over] },
      annotations: choice.view === "relief" ? flags(choice, scale) : [],
      aspectmode: "manual",
      aspectratio: { x: 1.2 / Math.max(aspect, 1), y: 1.2 * Math.min(aspect, 1), z: 0.45 },
      camera: { eye: { x: 0.4 * away, y: -1.6 * away, z: 1.5 * away }, center: { x: 0, y: 0, z: -0.15 } },
    },
  };
}

function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function narrow() {
  return plot.clientWidth < 500;
}

// A table's rows as text, the first as its head. A cell is a text, or a text and the share of the cell that a bar fills.
function fill(table, head, rows) {
  const cell = (tag, [text, share]) => {
    const made = Object.assign(document.createElement(tag), { textContent: text ?? "" });
    if (share != null) made.style.setProperty("--share", share);
    return made;
  };
  const line = (cells, tag) => {
    const row = document.createElement("tr");
    row.append(...head.map((_, k) => cell(k ? tag : "th", [cells[k]].flat())));
    return row;
  };
  const [top, body] = [document.createElement("thead"), document.createElement("tbody")];
  top.append(line(head, "th"));
  body.append(...rows.map((cells) => line(cells, "td")));
  table.replaceChildren(top, body);
}

// The numbers of the pinned points, and how much that of B is more, if there are two.
function compared(quantity, numbers, make = (number) => shown(quantity, number)) {
  const difference = numbers.includes(null) ? null : numbers[1] - numbers[0];
  return [...numbers.map(make), ...(numbers.length === 2 ? [shown(quantity, difference)] : [])];
}

function comparePoints(choice) {
  const rows = [
    ["row, column", ...pins.map((point) => point.join(", "))],
    ["pixel", ...pins.map(colourOf)],
  ];
  for (const split of run.splits) {
    for (const name of ["loss", "accuracy"]) {
      rows.push([`${split} ${name}`, ...compared(name, pins.map((point) => value(name, { ...choice, split }, point)))]);
    }
  }
  const head = ["A", "B", "B \u2212 A"].slice(0, pins.length === 2 ? 3 : 1);
  fill(document.getElementById("points"), pins.length ? ["", ...head] : ["None yet."], pins.length ? rows : []);
  compareClasses(choice, head);
}

function compareClasses(choice, head) {
  const images = blockOf(choice).class_images[choice.split];
  const right = pins.map((point) => placeOf(choice, point) && correct(choice, point));
  const rows = run.classes.map((name, k) => {
    const shares = right.map((counts) => (counts && images[k] ? counts[k] / images[k] : null));
    return [name, String(images[k]), ...compared("accuracy", shares, (share) => [shown("accuracy", share), share])];
  });
  fill(document.getElementById("classes"), ["class", "images", ...head], rows);
  document.getElementById("by-class").hidden = !pins.length;
  document.getElementById("of-classes").textContent = `Share of a class's ${choice.split} images that the network classifies correctly.`;
}

const SCORES = {
  accuracy_gap: "gap",
  accuracy_white: "accuracy, white",
  accuracy_black: "accuracy, black",
  loss_white: "loss, white",
  loss_black: "loss, black",
  objective: "objective",
  auc: "AUC",
  iou: "IoU",
  tv: "total variation",
  image_passes: "image passes",
};

function compareScores(choice) {
  if (!run.scores) return;
  const here = run.scores.filter((row) => row.split === choice.split && row.bn_protocol === choice.protocol);
  const columns = [
    here.find((row) => row.control !== "shuffled" && row.image_passes === run.stages[choice.stage].image_passes),
    here.find((row) => row.control === "untrained"),
    here.find((row) => row.control === "shuffled"),
  ];
  const cell = (row, name) => {
    if (row?.[name] == null) return "\u2013";
    return name === "image_passes" ? row[name].toLocaleString("en") : shown(/^(acc|auc|iou)/.test(name) ? "accuracy" : "loss", row[name]);
  };
  const rows = Object.entries(SCORES).map(([name, words]) => [words, ...columns.map((row) => cell(row, name))]);
  fill(document.getElementById("scores"), ["", "as shown", "untrained", "shuffled"], rows);
}

function figure() {
  const choice = chosen();
  const scale = scaleOf(choice);
  return [traces(choice, scale), layoutOf(choice, scale)];
}

function tell() {
  const choice = chosen();
  const { name, image_passes } = run.stages[choice.stage];
  document.getElementById("stage-now").textContent = `${name}, ${image_passes.toLocaleString("en")} image passes`;
  const missing = [...form.querySelectorAll("input:disabled + span")].map((label) => label.textContent);
  const without = missing.length ? ` Not evaluated at this stage: ${missing.join(", ")}.` : "";
  document.getElementById("rests").textContent = `Each point rests on ${imagesOf(choice).toLocaleString("en")} ${choice.split} images.${without}`;
  document.getElementById("readout").textContent = cursor && placeOf(choice, cursor) ? told(choice, cursor).join(" \u00b7 ") : "";
  comparePoints(choice);
  compareScores(choice);
}

// Of splits and protocols, those that the stage has can be chosen; what the reader wants is chosen again where it is there.
function settle() {
  for (const name of ["split", "protocol"]) {
    const has = blockOf(chosen())[name];
    for (const input of form.querySelectorAll(`[name=${name}]`)) {
      input.disabled = !has.includes(input.value);
      input.checked = input.value === (has.includes(wanted[name]) ? wanted[name] : has[0]);
    }
  }
}

function chose({ target }) {
  if (target.name in wanted) wanted[target.name] = target.value;
  draw();
}

function draw() {
  settle();
  tell();
  return Plotly.react(plot, ...figure(), { displayModeBar: false, responsive: true });
}

function pin(point) {
  const at = pins.findIndex((other) => String(other) === String(point));
  if (at >= 0) pins.splice(at, 1);
  else pins[Math.min(pins.length, 1)] = point;
  draw();
}

function pointOf(event) {
  const { x, y } = event.points[0];
  return [y, x];
}

function pointed(event) {
  cursor = pointOf(event);
  over = true;
  if (tapped) {
    tapped = false;
    return pin(cursor);
  }
  if (!byKeys) return tell();
  byKeys = false;
  draw();
}

// The point of the map at a place on the screen, if there is one.
function under(event) {
  const { row, column } = blockOf(chosen());
  const { xaxis, yaxis } = plot._fullLayout;
  const box = plot.getBoundingClientRect();
  const x = xaxis.p2d(event.clientX - box.x - xaxis._offset);
  const y = yaxis.p2d(event.clientY - box.y - yaxis._offset);
  const half = (row[1] - row[0]) / 2;
  const point = [nearest(row, y), nearest(column, x)];
  return Math.abs(point[0] - y) <= half && Math.abs(point[1] - x) <= half ? point : null;
}

function nearest(axis, place) {
  return axis.reduce((best, other) => (Math.abs(other - place) < Math.abs(best - place) ? other : best));
}

function began(event) {
  press = [event.clientX, event.clientY];
  tapped = false;
}

// A press that neither turned the relief nor scrolled the page pins. In the relief, plotly tells a little later where it was.
function released(event) {
  const way = Math.hypot(event.clientX - press[0], event.clientY - press[1]);
  if (way > (event.pointerType === "touch" ? 12 : 5)) return;
  if (chosen().view === "relief") {
    if (event.pointerType === "touch") tapped = true;
    else setTimeout(() => over && pin(cursor), 100);
    return;
  }
  const point = under(event);
  if (!point) return;
  cursor = point;
  pin(point);
}

function pressed(event) {
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  const { row, column } = blockOf(chosen());
  const moved = (axis, from, by) => axis[Math.min(Math.max(axis.indexOf(nearest(axis, from)) + by, 0), axis.length - 1)];
  if (step) {
    byKeys = true;
    const [i, j] = cursor ?? [run.mask.length / 2, run.mask[0].length / 2];
    cursor = [moved(row, i, step[0]), moved(column, j, step[1])];
  } else if (event.key === "Escape") pins.length = 0;
  else if (event.key === "Enter" && cursor && placeOf(chosen(), cursor)) return pin(cursor);
  else return;
  event.preventDefault();
  draw();
}

// Plotly takes some tags in texts for markup.
function plain(text) {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

function download() {
  const choice = chosen();
  const [data, layout] = figure();
  const protocol = form.querySelector("[name=protocol]:checked + span").textContent;
  const title = [document.title, `${choice.split} ${choice.quantity}, ${run.stages[choice.stage].name}, ${protocol}`];
  layout.title = { text: title.map(plain).join("<br>"), font: { size: 16 } };
  layout.margin.t += 70;
  if (choice.view === "relief") layout.scene.camera = plot.layout.scene.camera; // as the reader turned it
  const name = ["dataset", "mask", "network"].map((key) => run.names[key]).join("-");
  const filename = `${name}-seed${run.names.seed}-${choice.split}-${choice.quantity}-${run.stages[choice.stage].name.replace(" ", "")}`;
  return Plotly.downloadImage({ data, layout }, { format: "png", width: plot.clientWidth, height: plot.clientHeight + 70, scale: 2, filename });
}

async function start() {
  for (const block of run.blocks) for (const name of ["loss", "correct"]) block[name] = await unpacked(block[name]);
  Object.assign(wanted, { split: chosen().split, protocol: chosen().protocol });
  await draw();
  form.addEventListener("input", chose);
  plot.addEventListener("keydown", pressed);
  document.getElementById("download").addEventListener("click", download);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  plot.on("plotly_hover", pointed);
  plot.on("plotly_unhover", () => (over = false));
  plot.on("plotly_click", pointed);
  plot.addEventListener("pointerdown", began, true);
  plot.addEventListener("pointerup", released, true);
  document.documentElement.dataset.ready = "yes"; // for tests
}

start();
