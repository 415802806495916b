// The field that the text is typed into, shaded from behind.

import { chance, describe, element, shade, shown } from "./shade.js";
import { END } from "./text.js";

const SUGGESTIONS = 6;

const field = document.getElementById("text");
const mirror = document.getElementById("mirror");
const detail = document.getElementById("detail");
const suggestions = document.getElementById("suggestions");
let suggested = "";

/** Puts the text behind the field, each word on its shade. `known` is as from `Session.known`. */
export function shadeText(text, tokens, known) {
  const parts = [];
  let at = 0;
  tokens.forEach(({ word, start, end }, index) => {
    const { answer, fresh } = known[index];
    if (word === END || !answer) return;
    const mark = element("span", fresh ? "" : "old", text.slice(start, end));
    shade(mark, answer.surprise);
    if (answer.oov) mark.classList.add("oov");
    mark.dataset.index = index;
    parts.push(text.slice(at, start), mark);
    at = end;
  });
  // A line break at the end takes a line only if something follows.
  mirror.replaceChildren(...parts, text.slice(at), "\u200b");
}

/** Tells about the word at the caret, or under the pointer. */
export function showDetail(tokens, known, pointed) {
  const caret = field.selectionEnd;
  const here = tokens.findLastIndex(({ word, start }) => word !== END && start < caret);
  const index = pointed ?? here;
  const answer = known[index]?.answer;
  if (!answer) {
    detail.replaceChildren();
    return;
  }
  const words = tokens.map(({ word }) => word);
  const told = element("b", "", shown(words[index]));
  detail.replaceChildren(told, ` ${describe(words, index, answer)}`);
}

/** The index of the word under the pointer, or null. */
export function wordAt({ clientX, clientY }) {
  const under = document.elementsFromPoint(clientX, clientY).find((one) => one.dataset.index);
  return under ? Number(under.dataset.index) : null;
}

/** Offers the words that are most probable where the caret is, as the model sees it. */
export function suggest(tokens, known) {
  const caret = field.selectionEnd;
  const begun = /\S*$/.exec(field.value.slice(0, caret))[0];
  const before = tokens.findLastIndex(({ end }) => end <= caret - begun.length);
  const fitting = (known[before]?.answer?.next ?? []).filter(({ word }) => word.startsWith(begun) && word !== begun);
  const shownNow = fitting.slice(0, SUGGESTIONS);
  // Those that stay are left alone, so that no click or focus on them is lost.
  const asked = JSON.stringify([begun, shownNow]);
  if (asked === suggested) return;
  suggested = asked;
  suggestions.replaceChildren(...shownNow.map((one) => button(one, begun)));
}

function button({ word, log10_prob: log10Prob }, begun) {
  const ends = word === "</s>";
  const odds = element("small", "", chance(log10Prob === null ? null : -log10Prob * Math.log2(10)));
  const made = element("button", "", ends ? "end of sentence" : word, " ", odds);
  made.type = "button";
  made.addEventListener("click", () => {
    field.focus();
    field.setSelectionRange(field.selectionEnd - begun.length, field.selectionEnd);
    // Deprecated, but nothing else leaves the way back by undoing.
    document.execCommand("insertText", false, ends ? "\n" : `${word} `);
  });
  return made;
}
