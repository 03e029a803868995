// The page of one plane: the choices of the form decide what plotly shows of the numbers in #data.
"use strict";

const run = JSON.parse(document.getElementById("data").textContent);
const form = document.getElementById("controls");
const plot = document.getElementById("plot");
const values = { loss: unpacked(run.values.loss), accuracy: unpacked(run.values.accuracy) };
const pins = []; // at most two points, [row, column] as indices
const PIN = "#ffd400";
let cursor = null; // the point that was pointed at last
let over = false; // whether it still is
let press = null; // where on the screen a press began
let byKeys = false; // whether keys did, so that it wants a mark

function unpacked(text) {
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let k = 0; k < bytes.length; k++) bytes[k] = characters.charCodeAt(k);
  return new Float32Array(bytes.buffer);
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

function value(quantity, { stage, split, protocol }, [i, j]) {
  const surface = (stage * run.split.length + run.split.indexOf(split)) * run.protocol.length + run.protocol.indexOf(protocol);
  return values[quantity][(surface * run.row.length + i) * run.column.length + j];
}

function colourOf([i, j]) {
  const [row, column] = [run.row[i], run.column[j]];
  if (!Number.isInteger(row) || !Number.isInteger(column)) return "between pixels";
  const found = run.mask[row]?.[column];
  return { "1": "white", "-1": "black", "0": "ignored" }[found] ?? "outside the picture";
}

function shown(quantity, number) {
  const text = quantity === "loss" ? String(Number(number.toPrecision(4))) : number.toFixed(3);
  return text.replace("-", "\u2212");
}

function told(choice, point) {
  const numbers = ["loss", "accuracy"].map((name) => `${name} ${shown(name, value(name, choice, point))}`);
  return [`row ${run.row[point[0]]}, column ${run.column[point[1]]}`, colourOf(point), ...numbers];
}

function grid(make) {
  return run.row.map((_, i) => run.column.map((_, j) => make([i, j])));
}

// A colour scale of the figures: `place` is where a number lies on it, `axis` what plotly's colour bar and height axis share.
function scaleOf(choice) {
  const loss = choice.quantity === "loss";
  const scale = loss ? run.loss_scales[choice.protocol] : run.accuracy_scale;
  const place = (number) => {
    const inside = Math.min(Math.max(number, scale.low), scale.high);
    return loss ? Math.log(inside) : inside;
  };
  const all = grid((point) => value(choice.quantity, choice, point)).flat();
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
  return { x: points.map(([, j]) => run.column[j]), y: points.map(([i]) => run.row[i]), ...(choice.view === "relief" && { z }) };
}

function marks(choice, scale, points, marker) {
  const type = choice.view === "map" ? "scatter" : "scatter3d";
  return { type, ...placed(choice, scale, points), mode: "markers", marker, hoverinfo: "skip" };
}

function flags(choice, scale) {
  const look = { bgcolor: PIN, bordercolor: "black", borderpad: 3, font: { color: "black" }, arrowhead: 2, ax: 0, ay: -26 };
  const at = placed(choice, scale, pins);
  const one = (k) => Object.fromEntries(Object.entries(at).map(([axis, numbers]) => [axis, numbers[k]]));
  return pins.map((_, k) => ({ ...look, text: "AB"[k], ...one(k) }));
}

function traces(choice, scale) {
  const z = grid((point) => scale.place(value(choice.quantity, choice, point)));
  const text = grid((point) => told(choice, point).join("<br>"));
  const side = narrow() ? { orientation: "h", y: 1, yanchor: "bottom" } : {};
  const title = { ...scale.axis.title, side: narrow() ? "top" : "right" };
  const colorbar = { ...scale.axis, title, thickness: 14, outlinewidth: 0, len: 0.9, ...side };
  const surface = { x: run.column, y: run.row, z, text, hoverinfo: "text", colorscale: scale.colours, colorbar };
  const [low, high] = scale.range;
  const found = [
    choice.view === "map"
      ? { type: "heatmap", ...surface, zmin: low, zmax: high }
      : { type: "surface", ...surface, surfacecolor: z, cmin: low, cmax: high, lighting: { ambient: 0.8, diffuse: 0.5, specular: 0.05 } },
  ];
  if (choice.mask) {
    const points = grid((point) => point).flat().filter((point) => ["white", "black"].includes(colourOf(point)));
    const white = points.map((point) => colourOf(point) === "white");
    const size = Math.min(Math.max((0.28 * plot.clientWidth) / run.column.length, 2), 8) / (choice.view === "map" ? 1 : 1.5);
    const line = { width: 1, color: white.map((is) => (is ? "black" : "white")) };
    found.push(marks(choice, scale, points, { size, color: white.map((is) => (is ? "white" : "black")), line, opacity: 1 }));
  }
  if (byKeys) found.push(marks(choice, scale, [cursor], { size: 7, color: PIN, line: { width: 1, color: "black" } }));
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
  const aspect = run.row.length / run.column.length;
  return {
    paper_bgcolor: paper,
    plot_bgcolor: paper,
    font: { color: ink, family: "system-ui, sans-serif" },
    margin: { l: narrow() ? 40 : 50, r: 10, t: narrow() ? 55 : 10, b: 45 },
    showlegend: false,
    hovermode: "closest",
    dragmode: choice.view === "map" ? false : "turntable",
    uirevision: choice.view,
    shapes: choice.view === "map" && run.row[0] < 0 ? frames : [],
    annotations: choice.view === "map" ? flags(choice, scale) : [],
    xaxis: { ...side, title: { text: "column" } },
    yaxis: { ...side, title: { text: "row" }, autorange: "reversed", scaleanchor: "x", constraintoward: "top" },
    scene: {
      xaxis: { ...wall, title: { text: "column" } },
      yaxis: { ...wall, title: { text: "row" }, autorange: "reversed" },
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

// A table's rows as text, the first as its head.
function fill(table, head, rows) {
  const line = (cells, tag) => {
    const row = document.createElement("tr");
    row.append(...head.map((_, k) => [k, cells[k]]).map(([k, text]) => Object.assign(document.createElement(k ? tag : "th"), { textContent: text ?? "" })));
    return row;
  };
  const [top, body] = [document.createElement("thead"), document.createElement("tbody")];
  top.append(line(head, "th"));
  body.append(...rows.map((cells) => line(cells, "td")));
  table.replaceChildren(top, body);
}

function comparePoints(choice) {
  const rows = [
    ["row, column", ...pins.map(([i, j]) => `${run.row[i]}, ${run.column[j]}`)],
    ["pixel", ...pins.map(colourOf)],
  ];
  for (const split of run.split) {
    for (const name of ["loss", "accuracy"]) {
      const numbers = pins.map((point) => value(name, { ...choice, split }, point));
      const difference = pins.length === 2 ? [shown(name, numbers[1] - numbers[0])] : [];
      rows.push([`${split} ${name}`, ...numbers.map((number) => shown(name, number)), ...difference]);
    }
  }
  const head = ["", "A", "B", "B \u2212 A"].slice(0, pins.length === 2 ? 4 : 2);
  fill(document.getElementById("points"), pins.length ? head : ["None yet."], pins.length ? rows : []);
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
  const here = run.scores.filter((row) => row.split === choice.split && row.bn_protocol === choice.protocol);
  const columns = [
    here.find((row) => row.control !== "shuffled" && row.image_passes === run.image_passes[choice.stage]),
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
  const passes = run.image_passes[choice.stage].toLocaleString("en");
  document.getElementById("stage-now").textContent = `${run.stage[choice.stage]}, ${passes} image passes`;
  const images = `${run.images[choice.split].toLocaleString("en")} ${choice.split} images`;
  document.getElementById("readout").textContent = cursor ? told(choice, cursor).join(" \u00b7 ") : `${images} per point`;
  comparePoints(choice);
  compareScores(choice);
}

function draw() {
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
  return [run.row.indexOf(y), run.column.indexOf(x)];
}

function pointed(event) {
  cursor = pointOf(event);
  over = true;
  if (!byKeys) return tell();
  byKeys = false;
  draw();
}

// A press that did not turn the relief pins. Plotly tells of a touch twice, and a little later where it was.
function released(event) {
  const way = Math.hypot(event.clientX - press[0], event.clientY - press[1]);
  if (way < 5) setTimeout(() => over && pin(cursor), 100);
}

function pressed(event) {
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  const inside = (index, length) => Math.min(Math.max(index, 0), length - 1);
  if (step) {
    byKeys = true;
    const [i, j] = cursor ?? [Math.floor(run.row.length / 2), Math.floor(run.column.length / 2)];
    cursor = [inside(i + step[0], run.row.length), inside(j + step[1], run.column.length)];
  } else if (event.key === "Escape") pins.length = 0;
  else if (event.key === "Enter" && cursor) return pin(cursor);
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
  const title = [document.title, `${choice.split} ${choice.quantity}, ${run.stage[choice.stage]}, ${protocol}`];
  layout.title = { text: title.map(plain).join("<br>"), font: { size: 16 } };
  layout.margin.t += 70;
  if (choice.view === "relief") layout.scene.camera = plot.layout.scene.camera; // as the reader turned it
  const name = ["dataset", "mask", "network"].map((key) => run.names[key]).join("-");
  const filename = `${name}-seed${run.names.seed}-${choice.split}-${choice.quantity}-${run.stage[choice.stage].replace(" ", "")}`;
  return Plotly.downloadImage({ data, layout }, { format: "png", width: plot.clientWidth, height: plot.clientHeight + 70, scale: 2, filename });
}

draw().then(() => {
  form.addEventListener("input", draw);
  plot.addEventListener("keydown", pressed);
  document.getElementById("download").addEventListener("click", download);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  plot.on("plotly_hover", pointed);
  plot.on("plotly_unhover", () => (over = false));
  plot.on("plotly_click", pointed);
  plot.addEventListener("pointerdown", (event) => (press = [event.clientX, event.clientY]), true);
  plot.addEventListener("pointerup", released, true);
  document.documentElement.dataset.ready = "yes"; // for tests
});
