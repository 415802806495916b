// One model's reading of a text that is being written, over a WebSocket.

import { connect } from "./service.js";
import { END, overlap } from "./text.js";

const RETRY_MS = [250, 500, 1000, 2000, 5000];
// Words sent before their answers: enough to keep the service busy, few enough to change one's mind.
const WINDOW = 128;

export class Session {
  /** Answers to the tokens, or undefined; those before `done` are the model's last word on them. */
  answers = [];
  /** How many of the tokens are answered for good. */
  done = 0;
  /** Why the service doesn't answer, or "". */
  trouble = "";

  #tokens = [];
  #sent = 0;
  #socket = null;
  #ready = false;
  #failures = 0;
  #timer = 0;
  #digest = null;
  #refused = false;

  /** `top` next words come with every answer; `changed` is called when there is something new. */
  constructor({ model, top, changed }) {
    this.model = model;
    this.top = top;
    this.changed = changed;
  }

  /** Whether these words only go on from those that the model was asked to read. */
  extendsTo(words) {
    return this.#tokens.every((token, index) => token === words[index]);
  }

  /** Makes the model read these words, from the first that changed. */
  read(words) {
    const [before, after] = overlap(this.#tokens, words);
    const changed = Array(words.length - before - after);
    // Old answers to words after the change are shown until the new ones are there.
    this.answers = [
      ...this.answers.slice(0, before),
      ...changed,
      ...this.answers.slice(this.#tokens.length - after),
    ];
    this.#tokens = words;
    this.#refused = false;
    this.done = Math.min(this.done, before);
    if (before < this.#sent) this.#leave();
    this.#send();
  }

  /** What is known about each of these words, which may be ahead of those being read. */
  known(words) {
    const [before, after] = overlap(this.#tokens, words);
    return words.map((_, index) => {
      if (index < before) return { answer: this.answers[index], fresh: index < this.done };
      const old = index + this.#tokens.length - words.length;
      return { answer: index >= words.length - after ? this.answers[old] : undefined, fresh: false };
    });
  }

  close() {
    this.#leave();
    clearTimeout(this.#timer);
    this.#tokens = [];
  }

  #connect() {
    // Where no state was kept, from a word further back, or from the beginning.
    while (this.done > 0 && !this.answers[this.done - 1].state) this.done -= 1;
    this.#sent = this.done;
    const state = this.done > 0 ? this.answers[this.done - 1].state : undefined;
    const socket = connect("v1/stream", { model: this.model, top: this.top, state });
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#socket === socket && this.#take(JSON.parse(data));
    socket.onclose = () => this.#socket === socket && this.#lost();
  }

  #leave() {
    const socket = this.#socket;
    this.#socket = null;
    this.#ready = false;
    // Closing it earlier would be reported as an error.
    if (socket?.readyState === WebSocket.CONNECTING) socket.onopen = () => socket.close();
    else socket?.close();
  }

  #lost() {
    this.#leave();
    this.#sent = this.done;
    // With nothing to ask, the next word connects anew.
    if (this.done === this.#tokens.length) return;
    this.trouble ||= "The service doesn’t answer; trying again …";
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#send(), RETRY_MS[Math.min(this.#failures, RETRY_MS.length - 1)]);
    this.#failures += 1;
    this.changed();
  }

  #send() {
    if (this.#refused || this.done === this.#tokens.length) return;
    if (!this.#socket) this.#connect();
    if (!this.#ready) return;
    const until = Math.min(this.#tokens.length, this.done + WINDOW);
    for (const message of messages(this.#tokens.slice(this.#sent, until))) {
      this.#socket.send(JSON.stringify(message));
    }
    this.#sent = Math.max(this.#sent, until);
  }

  #take({ error, ready, ...answer }) {
    if (error) {
      this.#troubled(error);
    } else if (ready) {
      if (this.#digest !== null && this.#digest !== ready.digest) this.#restart();
      this.#digest = ready.digest;
      this.#ready = this.#socket !== null;
    } else {
      this.answers[this.done] = answer;
      this.done += 1;
      this.#failures = 0;
      this.trouble = "";
    }
    this.#send();
    this.changed();
  }

  #troubled({ status, detail }) {
    if (this.#ready && status !== 408) {
      // A word that can't be read; those after it would be read as if it weren't there.
      this.#refused = true;
      this.trouble = detail;
      this.#leave();
    } else if (this.done > 0) {
      this.#restart(); // The state is no longer there.
    } else {
      this.trouble = detail;
    }
  }

  /** Begins anew: what was answered counts no more. */
  #restart() {
    this.#leave();
    this.done = 0;
  }
}

/** Tokens as the service takes them: runs of words, and the ends of sentences. */
function messages(tokens) {
  const sent = [];
  for (const token of tokens) {
    if (token === END) sent.push({ end: true });
    else if (sent.at(-1)?.words) sent.at(-1).words.push(token);
    else sent.push({ words: [token] });
  }
  return sent;
}
