// The view of a text that a model continues, for models that know no turns.

import { receive, status } from "./answer.js";
import { at, grow, make, paced } from "./dom.js";
import { showTokens } from "./probabilities.js";
import { requested } from "./settings.js";
import { titleOf } from "./tree.js";

const UNDOS = 30;
const joined = (pieces) => pieces.map(({ text }) => text).join("");

/** The bytes of tokens that are not characters by themselves stand together as text again. */
function textOf(tokens) {
  const bytes = tokens.flatMap(([text]) => text.startsWith("bytes:")
    ? [...text.matchAll(/\\x([0-9a-f]{2})/g)].map(([, byte]) => parseInt(byte, 16))
    : [...new TextEncoder().encode(text)]);
  return new TextDecoder().decode(Uint8Array.from(bytes));
}

/** `page` as of ChatView. The conversation holds `pieces`: {text, tokens} with tokens where the model wrote them. */
export class DraftView {
  #page;
  #running = null;
  #tokens = false;

  constructor(page, conversation) {
    [this.#page, this.conversation] = [page, conversation];
    conversation.pieces ??= [];
    conversation.past ??= [];
    at("draft").oninput = () => this.#typed();
    this.show();
  }

  get running() {
    return Boolean(this.#running);
  }

  show() {
    const area = at("draft"), text = joined(this.conversation.pieces);
    if (area.value !== text) area.value = text;
    area.readOnly = this.running;
    area.hidden = this.#tokens;
    at("draft-tokens").hidden = !this.#tokens;
    at("draft-view").setAttribute("aria-pressed", String(this.#tokens));
    at("draft-view").disabled = this.running || !this.conversation.pieces.some((piece) => piece.tokens);
    at("undo").disabled = this.running || !this.conversation.past.length;
    if (this.#tokens) this.#showTokens();
    else grow(area);
  }

  #showTokens() {
    at("draft-tokens").replaceChildren(...this.conversation.pieces.map((piece, index) => {
      if (!piece.tokens) return make("span", { class: "given", text: piece.text });
      const group = make("div", { class: "written" });
      showTokens(group, piece.tokens, (at, text) => this.#take(index, at, text));
      return group;
    }));
  }

  /** Goes on from a token with another one in its place. */
  #take(index, at, text) {
    if (this.running) return;
    this.#keep();
    const piece = this.conversation.pieces[index], tokens = piece.tokens.slice(0, at);
    const kept = this.conversation.pieces.slice(0, index);
    if (at) kept.push({ text: textOf(tokens), tokens });
    this.conversation.pieces = [...kept, { text }];
    this.go();
  }

  #keep() {
    this.conversation.past = [...this.conversation.past, this.conversation.pieces].slice(-UNDOS);
  }

  /** What was typed: pieces before the first change stay as they are. */
  #typed() {
    const text = at("draft").value, kept = [];
    let length = 0;
    for (const piece of this.conversation.pieces) {
      if (!text.startsWith(piece.text, length)) break;
      kept.push(piece);
      length += piece.text.length;
    }
    const own = kept.at(-1) && !kept.at(-1).tokens ? kept.pop() : { text: "" };
    const rest = own.text + text.slice(length);
    this.conversation.pieces = rest ? [...kept, { text: rest }] : kept;
    this.#changed();
  }

  #changed() {
    const { conversation } = this;
    conversation.updated = Date.now();
    if (!conversation.named) conversation.title = titleOf(joined(conversation.pieces));
    this.show();
    this.#page.save();
    this.#page.changed();
  }

  /** Takes the last continuation back. */
  undo() {
    if (this.running || !this.conversation.past.length) return;
    this.conversation.pieces = this.conversation.past.pop();
    if (!this.conversation.pieces.some((piece) => piece.tokens)) this.#tokens = false;
    this.#changed();
  }

  toggle() {
    this.#tokens = !this.#tokens;
    this.show();
  }

  stop() {
    this.#running?.abort();
  }

  /** Continues the text; what was there before can be had back. */
  async go({ keep = false } = {}) {
    if (this.running) return;
    if (keep) this.#keep();
    const { conversation } = this, stop = (this.#running = new AbortController()), area = at("draft");
    const before = joined(conversation.pieces), shown = this.#tokens;
    const body = { model: conversation.model, prompt: before, logprobs: 5, ...requested(conversation.settings, "text") };
    const record = {};
    this.#tokens = false;
    this.show();
    this.#page.began();
    this.#page.say(status({}));
    let failed = null;
    const draw = paced(() => {
      if (this.#running !== stop) return;
      area.value = before + record.content;
      grow(area);
      this.#page.say(status(record));
      this.#page.scroll();
    });
    try {
      await receive(record, "/v1/completions", body, stop.signal, draw);
    } catch (error) {
      failed = error;
    }
    this.#running = null;
    if (record.content) conversation.pieces = [...conversation.pieces, { text: record.content, tokens: record.tokens }];
    else if (keep) conversation.past.pop();
    this.#tokens = shown && Boolean(record.content);
    this.#page.say(stop.signal.aborted ? "Stopped" : status({ first: 0, tokens: [], ...record }));
    this.#changed();
    if (failed) this.#page.failed(failed, [["Try again", () => this.go({ keep })]]);
    this.#page.scroll();
  }
}
