// Texts as the models read them: tokens, and sentences.

/** The token that ends a sentence: a line of the text is a sentence. */
export const END = "\n";

// With its full stop, one word to the Penn Treebank.
const TITLES = "mr|mrs|ms|dr|jr|st|corp|inc|co|ltd|sen|rep|gov|jan|feb|aug|sept|oct|nov|dec|vs";
// Words of their own to it: 's as in "dow 's", and n't as in "did n't".
const SHORT = "(?:n['’]t|['’](?:s|re|ve|ll|d|m))";
// What a run of anything but white space is read as; what is left over is dropped.
const WORDS = {
  kept: /.+/gsu,
  apart: /(?<=^\p{P}*)\p{P}|\p{P}(?=\p{P}*$)|[^\p{P}](?:.*[^\p{P}])?/gsu,
  treebank: new RegExp(
    String.raw`^(?:(?:\p{L}\.){2,}|(?:${TITLES})\.)$|${SHORT}(?=\p{P}*$)|[^\p{P}].*?(?=${SHORT}?\p{P}*$)`,
    "gisu",
  ),
};
const ENDS_A_SENTENCE = /[.!?]["'”’)\]]*\s*$/u;

/**
 * Cuts a text into tokens: `{word, start, end, complete}`, a span of the text each.
 * `complete` is false for a last word that may still grow.
 * `form` is "kept", "apart" (lower case, punctuation as words of its own) or "treebank" (lower
 * case, no punctuation, and what is short for another word apart).
 */
export function tokenise(text, form) {
  const tokens = [];
  let inSentence = false;
  for (const { 0: piece, index } of text.matchAll(/\n|[^\s]+/g)) {
    const end = index + piece.length;
    if (piece === "\n") {
      if (inSentence) tokens.push({ word: END, start: index, end, complete: true });
      inSentence = false;
      continue;
    }
    const complete = end < text.length;
    for (const token of inForm(piece, index, form)) tokens.push({ ...token, complete });
    inSentence = tokens.length > 0 && tokens.at(-1).word !== END;
  }
  return tokens;
}

/** The words that a piece without white space is read as. */
function inForm(piece, start, form) {
  return Array.from(piece.matchAll(WORDS[form]), ({ 0: text, index }) => ({
    word: form === "kept" ? text : text.toLowerCase().replaceAll("’", "'"),
    start: start + index,
    end: start + index + text.length,
  }));
}

/** How many elements two lists have in common at their beginnings, and then at their ends. */
export function overlap(old, fresh) {
  const most = Math.min(old.length, fresh.length);
  let before = 0;
  while (before < most && old[before] === fresh[before]) before += 1;
  let after = 0;
  while (after < most - before && old.at(-1 - after) === fresh.at(-1 - after)) after += 1;
  return [before, after];
}

/** The sentences of a text, white space made single. `cut` is "lines", "prose" or "guess". */
export function sentences(text, cut) {
  const lines = text.split(/\r?\n/).map((line) => line.trim());
  const how = cut === "guess" ? guessedCut(lines) : cut;
  const pieces = how === "lines" ? lines : lines.join("\n").split(/\n{2,}/).flatMap(inProse);
  return pieces.map((piece) => piece.replace(/\s+/g, " ").trim()).filter(Boolean);
}

/** Prose, where lines are wrapped, so that some end a sentence and some don't, or hold several. */
function guessedCut(lines) {
  const sample = lines.filter(Boolean).slice(0, 200);
  const share = sample.filter((line) => ENDS_A_SENTENCE.test(line)).length / sample.length;
  const perLine = sample.flatMap(inProse).length / sample.length;
  const wrapped = share > 0.05 && share < 0.8;
  return sample.length === 1 || wrapped || perLine > 1.5 ? "prose" : "lines";
}

function inProse(paragraph) {
  const segmenter = new Intl.Segmenter("en", { granularity: "sentence" });
  // A line break would end a sentence, too.
  return Array.from(segmenter.segment(paragraph.replace(/\n/g, " ")), ({ segment }) => segment);
}
