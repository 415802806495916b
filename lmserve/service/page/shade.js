// How surprise looks, and how it is put into words.

import { END } from "./text.js";

/** Bits from which on everything has the darkest shade. */
export const MOST_BITS = 16;

/** An element with a class and text or children. */
export function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** Shades an element; null is infinite surprise. The style sheet makes a colour of it. */
export function shade(target, bits) {
  const part = Math.min(bits ?? MOST_BITS, MOST_BITS) / MOST_BITS;
  target.classList.add("shaded");
  target.style.setProperty("--surprise", part.toFixed(3));
}

export function inBits(bits) {
  return bits === null ? "∞" : bits.toFixed(1);
}

/** `1 in 26`, or `81 %` where that says more. */
export function chance(bits) {
  if (bits === null) return "no chance";
  const odds = 2 ** bits;
  if (odds < 10) return `${(100 / odds).toFixed(0)} %`;
  return `1 in ${rounded(Math.round(odds))}`;
}

/** A number of 3 significant digits at most. */
export function rounded(value) {
  if (value === null) return "∞";
  const compact = value >= 1e6 ? { notation: "compact" } : {};
  return Number(value.toPrecision(3)).toLocaleString("en", { maximumSignificantDigits: 3, ...compact });
}

/** How a token is shown. */
export function shown(word) {
  return word === END ? "↵" : word;
}

/** What is known about one word: its surprise, its chance, and the n-gram that it was found in. */
export function describe(words, index, { surprise, ngram_length: length, oov }) {
  const parts = [`${inBits(surprise)} bits`, chance(surprise)];
  if (oov) parts.push("unknown to the model");
  else if (length > 0) parts.push(`${length}-gram “${ngram(words, index, length)}”`);
  return parts.join(" · ");
}

/** The last words up to one of a sentence; before its first stands its start. */
function ngram(words, index, length) {
  const sentence = words.slice(0, index);
  const context = ["<s>", ...sentence.slice(sentence.lastIndexOf(END) + 1)];
  const before = length > 1 ? context.slice(1 - length) : [];
  return [...before, shown(words[index])].join(" ");
}

/** Fills a box with samples of the shades and what each stands for. */
export function drawScale(box) {
  for (let bits = 0; bits <= MOST_BITS; bits += 2) {
    const odds = bits === 0 ? "certain" : `1 in ${(2 ** bits).toLocaleString("en")}`;
    const more = bits === MOST_BITS ? "+" : "";
    const sample = element("span", "", `${bits}${more}`, element("small", "", odds));
    shade(sample, bits);
    box.append(sample);
  }
}
