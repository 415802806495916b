// Puts the page together: what is chosen and typed goes to the models, what they say is shown.

import { drawChart } from "./chart.js";
import { shadeText, showDetail, suggest, wordAt } from "./editor.js";
import { drawRows } from "./rows.js";
import { ask, useKey } from "./service.js";
import { Session } from "./session.js";
import { drawScale, element, rounded } from "./shade.js";
import { findStrangest } from "./strangest.js";
import { tokenise } from "./text.js";

const MOST_MODELS = 3;
// Next words kept for every word, of which those are offered that fit what is being typed.
const NEXT_WORDS = 50;
// A word that is being typed or changed is scored when its writer pauses.
const PAUSE_MS = 300;
const TOLD_MS = 1500;

const $ = (id) => document.getElementById(id);
const field = $("text");
const chosen = { model: $("model"), form: $("form"), others: $("others") };

let sessions = [];
let tokens = [];
let pointed = null;
let pause = 0;
let frame = 0;
let told = 0;

function words(list) {
  return list.map(({ word }) => word);
}

/** Asks the models to read on at once where words were added, else when the writer pauses. */
function typed() {
  tokens = tokenise(field.value, chosen.form.value);
  const whole = words(tokens.filter(({ complete }) => complete));
  for (const session of sessions) if (session.extendsTo(whole)) session.read(whole);
  clearTimeout(pause);
  pause = setTimeout(read, PAUSE_MS);
  redraw();
}

function read() {
  clearTimeout(pause);
  tokens = tokenise(field.value, chosen.form.value);
  for (const session of sessions) session.read(words(tokens));
  redraw();
}

/** Draws what has changed, once before the next picture; soon after, tells the result. */
function redraw() {
  frame ||= requestAnimationFrame(draw);
  clearTimeout(told);
  told = setTimeout(tellResult, TOLD_MS);
}

function draw() {
  frame = 0;
  if (!sessions.length) return;
  const list = words(tokens);
  const readings = sessions.map((session) => ({ name: session.model, known: session.known(list) }));
  const [{ known }] = readings;
  shadeText(field.value, tokens, known);
  showDetail(tokens, known, pointed);
  suggest(tokens, known);
  $("results").hidden = !list.length;
  drawRows(list, readings);
  drawChart(sessions.map(({ model, answers, done }) => curve(model, answers.slice(0, done))));
  const troubled = sessions.find(({ trouble }) => trouble);
  if (troubled) tell(troubled.trouble, true);
}

function curve(name, answers) {
  return { name, perplexities: answers.map(({ perplexity }) => perplexity) };
}

/** One line for those who don't see the rest, when nothing has changed for a while. */
function tellResult() {
  const [session] = sessions;
  if (!session || session.trouble) return;
  const { answers, done } = session;
  tell(done ? `${done} words, perplexity ${rounded(answers[done - 1].perplexity)}` : "");
}

function tell(what, isTrouble = false) {
  const status = $("status");
  status.classList.toggle("trouble", isTrouble);
  if (status.textContent !== what) status.textContent = what;
}

function chooseModels() {
  const boxes = [...chosen.others.querySelectorAll("input")];
  for (const box of boxes) {
    if (box.value === chosen.model.value) box.checked = false;
    box.parentElement.hidden = box.value === chosen.model.value;
  }
  const beside = boxes.filter(({ checked }) => checked);
  for (const box of boxes) box.disabled = !box.checked && beside.length === MOST_MODELS - 1;
  for (const session of sessions) session.close();
  const names = [chosen.model.value, ...beside.map(({ value }) => value)];
  sessions = names.map((model, index) => new Session({ model, top: index ? 0 : NEXT_WORDS, changed: redraw }));
  read();
}

function offerModels(models) {
  chosen.model.replaceChildren(...models.map((model) => new Option(title(model), model.id)));
  const boxes = models.map((model) => {
    const box = element("input", "");
    box.type = "checkbox";
    box.value = model.id;
    return element("label", "", box, title(model));
  });
  chosen.others.append(...boxes);
  chosen.others.hidden = models.length < 2;
}

/** A model's name and what it is. */
function title({ id, kind, order }) {
  const kinds = { ngram: `${order}-gram`, rnn: "network", mixture: "mixture" };
  return `${id} (${kinds[kind]})`;
}

/** How the model's own text was written, judged by what it knows. */
async function guessForm(model) {
  const body = JSON.stringify({ text: "The .", model, words: true });
  const answer = await (await ask("v1/score", { method: "POST", body })).json();
  const [capital, mark] = answer.scores[0].words;
  if (capital.oov) chosen.form.value = mark.oov ? "treebank" : "apart";
}

/** What is typed before the models are known waits for them. */
function listen() {
  field.addEventListener("input", typed);
  document.addEventListener("selectionchange", redraw);
  field.addEventListener("pointermove", (event) => point(wordAt(event)));
  field.addEventListener("pointerleave", () => point(null));
  $("choices").addEventListener("change", chooseModels);
  new ResizeObserver(redraw).observe(document.body);
  findStrangest(
    () => ({ model: chosen.model.value, form: chosen.form.value }),
    (sentence) => {
      field.value = sentence;
      field.focus();
      read();
    },
  );
}

function point(index) {
  if (index === pointed) return;
  pointed = index;
  redraw();
}

async function start() {
  const { data } = await (await ask("v1/models")).json();
  if (!data.length) throw new Error("The service has no model yet; load this page again later.");
  offerModels(data);
  await guessForm(data[0].id);
  chooseModels();
}

/** Starts, or says why it can't be; where a key is missing, asks for one and tries again. */
async function tryToStart() {
  tell("");
  try {
    await start();
    $("key").hidden = true;
  } catch (error) {
    $("key").hidden = error.status !== 401 && error.status !== 403;
    tell(error.message, true);
  }
}

$("key").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(new FormData(event.target).get("key").trim());
  tryToStart();
});
drawScale($("scale"));
listen();
tryToStart();
