// Models under each other, word by word.

import { describe, element, inBits, shade, shown } from "./shade.js";
import { END } from "./text.js";

const LEAST_PX = 54;
const GAP_PX = 4;
const box = document.getElementById("rows");
const pen = document.createElement("canvas").getContext("2d");

/**
 * Draws tables of as many words as fit beside each other.
 * `readings` holds `{name, known}` for each model, `known` as from `Session.known`.
 */
export function drawRows(words, readings) {
  pen.font = getComputedStyle(box).font;
  const names = Math.max(...readings.map(({ name }) => pen.measureText(name).width)) + 24;
  const widths = words.map((word) => Math.max(LEAST_PX, pen.measureText(shown(word)).width + 12) + GAP_PX);
  const lines = cut(widths, box.clientWidth - Math.min(names, 144));
  box.replaceChildren(...lines.map(([from, to]) => table(words, readings, from, to)));
}

/** Ranges of columns that fit into a width; a sentence may go over several. */
function cut(widths, room) {
  const lines = [];
  let from = 0;
  let used = 0;
  widths.forEach((width, index) => {
    if (index > from && used + width > room) {
      lines.push([from, index]);
      from = index;
      used = 0;
    }
    used += width;
  });
  if (from < widths.length) lines.push([from, widths.length]);
  return lines;
}

function table(words, readings, from, to) {
  const head = element("tr", "", element("td", ""));
  for (const word of words.slice(from, to)) {
    const title = element("th", "", shown(word));
    title.scope = "col";
    if (word === END) title.setAttribute("aria-label", "end of sentence");
    head.append(title);
  }
  const rows = readings.map(({ name, known }) => {
    const title = element("th", "", name);
    title.scope = "row";
    return element("tr", "", title, ...known.slice(from, to).map((one, at) => cell(words, from + at, one)));
  });
  return element("table", "", element("thead", "", head), element("tbody", "", ...rows));
}

function cell(words, index, { answer, fresh }) {
  if (!answer) return element("td", "", "…");
  const { surprise, ngram_length: length, oov } = answer;
  const made = element("td", fresh ? "" : "old", inBits(surprise));
  shade(made, surprise);
  if (length > 0) made.append(element("sub", "", String(length)));
  if (oov) made.classList.add("oov");
  made.title = describe(words, index, answer);
  return made;
}
