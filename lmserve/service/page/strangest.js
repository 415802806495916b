// The sentences of a long text that a model expects the least.

import { ask } from "./service.js";
import { describe, element, rounded, shade } from "./shade.js";
import { sentences, tokenise } from "./text.js";

// Small enough for progress to be seen, large enough to be worth a request.
const BATCH = 256;
const SHOWN = 20;

const $ = (id) => document.getElementById(id);
const progress = $("progress");
const found = $("found");
let running = null;

/** Makes the form work. `choice` tells `{model, form}`; `use` takes a sentence into the editor. */
export function findStrangest(choice, use) {
  const form = $("strange");
  const long = $("long");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    search(long.value, choice(), use);
  });
  $("stop").addEventListener("click", () => running?.abort());
  $("file").addEventListener("change", ({ target }) => open(target.files[0], long, form));
  form.addEventListener("dragover", (event) => event.preventDefault());
  form.addEventListener("drop", (event) => {
    const [file] = event.dataTransfer.files;
    if (!file) return; // Dropped text goes where text goes.
    event.preventDefault();
    open(file, long, form);
  });
}

async function open(file, long, form) {
  long.value = await file.text();
  form.requestSubmit();
}

async function search(text, { model, form }, use) {
  running?.abort();
  const mine = (running = new AbortController());
  busy(true);
  try {
    const least = Number($("least").value);
    const all = sentences(text, $("cut").value)
      .map((sentence) => tokenise(`${sentence} `, form).map(({ word }) => word))
      .filter((words) => words.length >= least)
      .map((words) => words.join(" "));
    const strangest = await scored(all, model, mine.signal);
    const words = await wordByWord(strangest, model, mine.signal);
    $("strangest").replaceChildren(...strangest.map((one, index) => item(one, words[index], use)));
    found.textContent = all.length
      ? `${strangest.length} of ${all.length} sentences, strangest first, to ${model}.`
      : `No sentence has ${least} words.`;
  } catch (error) {
    found.textContent = mine.signal.aborted ? "Stopped." : error.message;
  } finally {
    if (running === mine) busy(false);
  }
}

function busy(is) {
  progress.hidden = !is;
  progress.value = 0;
  $("stop").hidden = !is;
  if (is) found.textContent = "";
}

/** The strangest of the sentences, as `{sentence, perplexity}`; tells the progress. */
async function scored(all, model, signal) {
  const query = new URLSearchParams({ model });
  let strangest = [];
  let done = 0;
  while (done < all.length) {
    const batch = all.slice(done, done + BATCH);
    const body = batch.map((text) => `${JSON.stringify({ text })}\n`).join("");
    const headers = { "Content-Type": "application/x-ndjson" };
    const answer = await ask(`v1/score/stream?${query}`, { method: "POST", body, headers, signal });
    const fresh = (await answer.text()).trimEnd().split("\n").map(JSON.parse);
    strangest.push(
      ...fresh.map((score, index) => ({ sentence: batch[index], perplexity: perplexityOf(score) })),
    );
    strangest = strangest.sort((one, other) => other.perplexity - one.perplexity).slice(0, SHOWN);
    done += batch.length;
    progress.value = done / all.length;
  }
  return strangest;
}

function perplexityOf({ error, perplexity }) {
  if (error) throw new Error(error.detail);
  return perplexity ?? Infinity;
}

async function wordByWord(strangest, model, signal) {
  if (!strangest.length) return [];
  const texts = strangest.map(({ sentence }) => sentence);
  const body = JSON.stringify({ texts, model, words: true });
  const answer = await ask("v1/score", { method: "POST", body, signal });
  return (await answer.json()).scores.map(({ words }) => words);
}

function item({ sentence, perplexity }, words, use) {
  const text = element("p", "");
  const written = words.map(({ word }) => word);
  words.slice(0, -1).forEach((score, index) => {
    const surprise = score.log10_prob === null ? null : -score.log10_prob * Math.log2(10);
    const mark = element("span", score.oov ? "oov" : "", score.word);
    mark.title = describe(written, index, { ...score, surprise });
    shade(mark, surprise);
    text.append(mark, " ");
  });
  const button = element("button", "", "Look closer");
  button.type = "button";
  button.addEventListener("click", () => use(sentence));
  const value = rounded(perplexity === Infinity ? null : perplexity);
  return element("li", "", element("b", "", value), text, button);
}
