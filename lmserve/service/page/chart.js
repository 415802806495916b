// The perplexity of the text so far, after each word: a line a model, on a logarithmic scale.

import { element, rounded } from "./shade.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT_PX = 150;
const LEFT_PX = 44;
const TOP_PX = 10;
const BOTTOM_PX = 22;
const LABEL_PX = 16;
// Factor between the outermost perplexities and the borders.
const ROOM = 1.25;
const box = document.getElementById("chart");
const pen = document.createElement("canvas").getContext("2d");

/** Draws `{name, perplexities}` of each model; an infinite perplexity, null, is left out. */
export function drawChart(readings) {
  const width = box.clientWidth;
  const words = Math.max(...readings.map(({ perplexities }) => perplexities.length));
  const all = readings.flatMap(({ perplexities }) => perplexities).filter((value) => value !== null);
  if (!all.length) {
    box.replaceChildren();
    return;
  }
  pen.font = "600 12px system-ui, sans-serif";
  const right = width - 12 - Math.max(...readings.map((one) => pen.measureText(label(one)).width));
  const low = Math.log10(Math.min(...all) / ROOM);
  const high = Math.log10(Math.max(...all) * ROOM);
  const x = (index) => LEFT_PX + ((right - LEFT_PX) * index) / Math.max(1, words - 1);
  const y = (value) =>
    HEIGHT_PX - BOTTOM_PX - ((Math.log10(value) - low) / (high - low)) * (HEIGHT_PX - BOTTOM_PX - TOP_PX);
  const svg = draw("svg", { viewBox: `0 0 ${width} ${HEIGHT_PX}`, height: HEIGHT_PX, role: "img" });
  svg.setAttribute("aria-label", `After ${words} words: ${readings.map(label).join(", ")}`);
  svg.append(...axes(low, high, words, x, y, right));
  readings.forEach(({ perplexities }, index) => {
    const points = perplexities.flatMap((value, at) => (value === null ? [] : [`${x(at)},${y(value)}`]));
    const line = draw("polyline", { points: points.join(" "), class: `line line-${index}` });
    const [cx, cy] = points.at(-1)?.split(",") ?? [];
    svg.append(line, ...(points.length ? [draw("circle", { cx, cy, r: 2.5, class: `dot line-${index}` })] : []));
  });
  svg.append(...labels(readings, y, right + 8));
  box.replaceChildren(svg);
}

function label({ name, perplexities }) {
  return `${name} ${perplexities.length ? rounded(perplexities.at(-1)) : "…"}`;
}

function axes(low, high, words, x, y, right) {
  const parts = ticks(low, high).flatMap((value) => [
    draw("line", { x1: LEFT_PX, x2: right, y1: y(value), y2: y(value), class: "grid" }),
    draw("text", { x: LEFT_PX - 8, y: y(value) + 4, "text-anchor": "end" }, rounded(value)),
  ]);
  const under = HEIGHT_PX - 4;
  parts.push(draw("text", { x: x(0), y: under, "text-anchor": "start" }, "first word"));
  if (words > 1) parts.push(draw("text", { x: right, y: under, "text-anchor": "end" }, `word ${words}`));
  return parts;
}

/** Powers of 10, and where there are few of them 2 and 5 times these. */
function ticks(low, high) {
  const factors = high - low > 2.2 ? [1] : [1, 2, 5];
  const values = [];
  for (let power = Math.floor(low); power <= high; power += 1) {
    for (const factor of factors) values.push(factor * 10 ** power);
  }
  return values.filter((value) => Math.log10(value) >= low && Math.log10(value) <= high);
}

/** Each model's name and perplexity at its line's end, moved apart where they would touch. */
function labels(readings, y, x) {
  const placed = readings
    .map((one, index) => ({ index, text: label(one), at: y(one.perplexities.findLast(Boolean) ?? 1) }))
    .sort((one, other) => one.at - other.at);
  placed.forEach((one, index) => {
    if (index) one.at = Math.max(one.at, placed[index - 1].at + LABEL_PX);
  });
  const over = Math.max(0, placed.at(-1).at - (HEIGHT_PX - BOTTOM_PX));
  return placed.map(({ index, text, at }) =>
    draw("text", { x, y: at - over + 4, class: `label line-${index}` }, text),
  );
}

function draw(name, attributes, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}
