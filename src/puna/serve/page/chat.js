// The view of a conversation with a model that answers.

import { receive, status } from "./answer.js";
import { announce, at, make, paced } from "./dom.js";
import { requested } from "./settings.js";
import { TurnView } from "./turns.js";
import * as tree from "./tree.js";

const TOO_LONG = "context_length_exceeded";
const SAVE_MS = 2000;

/**
 * `page` is what a view needs of the page: {save(), changed(), say(status), failed(error, ways), began(), scroll(),
 * modelTitle()}.
 */
export class ChatView {
  #page;
  #views = new Map();
  #running = null;

  constructor(page, conversation) {
    [this.#page, this.conversation] = [page, conversation];
    this.show();
  }

  get running() {
    return Boolean(this.#running);
  }

  /** Shows the turns of the branch that is chosen; those that were there keep their elements. */
  show() {
    const shown = tree.path(this.conversation), elements = [];
    for (const turn of shown) {
      let view = this.#views.get(turn.id);
      if (view) view.refresh({ running: this.#running?.turn === turn });
      else this.#views.set(turn.id, (view = new TurnView(this.conversation, turn, this.#acts)));
      if (turn.id === this.conversation.from) elements.push(make("p", { class: "soft border", text: "From here on the model reads; the turns above are left out." }));
      elements.push(view.element);
    }
    const lonely = shown.at(-1)?.role === "user" && !this.#running;
    if (lonely) elements.push(make("div", { class: "row lonely" }, make("button", { type: "button", class: "second", text: "Answer this", onclick: () => this.#answer(shown.at(-1)) })));
    if (!shown.length) elements.push(this.#greeting());
    at("turns").replaceChildren(...elements);
  }

  #greeting() {
    return make("div", { class: "greeting" }, make("p", { class: "big", text: `Talk with ${this.conversation.model}` }),
      make("p", { class: "soft", text: this.#page.modelTitle() }),
      make("p", { class: "soft", text: "Conversations are kept in this browser alone." }));
  }

  #acts = {
    edit: (turn, text) => {
      if (this.running) return;
      const added = tree.add(this.conversation, turn.parent, turn.role, text, turn.role === "assistant" ? { model: turn.model } : {});
      if (turn.role === "user") this.#answer(added);
      else this.#changed();
    },
    again: (turn) => {
      if (!this.running) this.#answer(this.conversation.turns[turn.parent]);
    },
    step: (turn, by) => {
      if (this.running) return;
      tree.step(this.conversation, turn, by);
      this.#changed();
      const now = this.conversation.turns[this.conversation.turns[turn.parent].children[this.conversation.turns[turn.parent].shown]];
      const [index, count] = tree.place(this.conversation, now);
      announce(`Version ${index + 1} of ${count}`);
      const buttons = this.#views.get(now.id).element.querySelectorAll(".branches button");
      [...buttons].find((button, side) => !button.disabled && (side === 0) === by < 0)?.focus() ?? [...buttons].find((button) => !button.disabled)?.focus();
    },
  };

  #changed() {
    this.conversation.updated = Date.now();
    this.show();
    this.#page.save();
    this.#page.changed();
  }

  /** Says something to the model. A question without an answer is replaced, since two in a row are no conversation. */
  say(text) {
    if (this.running || !text.trim()) return false;
    const last = tree.path(this.conversation).at(-1);
    const parent = !last ? "root" : last.role === "user" ? last.parent : last.id;
    this.#answer(tree.add(this.conversation, parent, "user", text));
    return true;
  }

  /** Answers the last question again. */
  again() {
    const asked = tree.path(this.conversation).filter((turn) => turn.role === "user").at(-1);
    if (asked && !this.running) this.#answer(asked);
  }

  /** Edits the last question. */
  editLast() {
    const asked = tree.path(this.conversation).filter((turn) => turn.role === "user").at(-1);
    if (asked && !this.running) this.#views.get(asked.id).edit();
  }

  stop() {
    this.#running?.stop.abort();
  }

  /** Lets the model answer; `leaving` is whether older turns are left out until the rest fits into its context. */
  async #answer(asked, { leaving = false } = {}) {
    const { conversation } = this, stop = new AbortController();
    const body = {
      model: conversation.model, messages: tree.messages(conversation, asked), logprobs: true, top_logprobs: 5,
      ...requested(conversation.settings, "chat"),
    };
    if (!conversation.named) conversation.title = tree.titleOf(tree.path(conversation)[0].content);
    // A page that is closed while an answer is written keeps the question, and the answer as far as it had come.
    let saved = conversation.updated = Date.now();
    this.#page.save();
    const turn = tree.add(conversation, asked.id, "assistant", "", { model: conversation.model });
    this.#running = { stop, turn };
    this.show();
    this.#page.began();
    const draw = paced(() => {
      if (this.#running?.turn !== turn) return;
      this.#views.get(turn.id)?.refresh({ running: true });
      this.#page.say(status(turn));
      this.#page.scroll();
      if (turn.content && Date.now() - saved > SAVE_MS) {
        saved = Date.now();
        this.#page.save();
      }
    });
    this.#page.say(status({}));
    let failed = null;
    try {
      await receive(turn, "/v1/chat/completions", body, stop.signal, draw);
    } catch (error) {
      failed = error;
    }
    this.#running = null;
    if (!turn.content && (failed || turn.finish === "stopped")) {
      // What stood there before is shown again.
      tree.remove(conversation, turn);
      this.#views.delete(turn.id);
    }
    this.#page.say(stop.signal.aborted ? "Stopped" : "");
    if (stop.signal.aborted) announce("Stopped");
    if (leaving && failed?.code === TOO_LONG && tree.leaveOut(conversation, asked)) return this.#answer(asked, { leaving });
    this.#changed();
    if (failed) this.#page.failed(failed, this.#ways(failed, asked));
    this.#page.scroll();
  }

  #ways(failed, asked) {
    const ways = [["Try again", () => this.#answer(asked)]];
    if (failed.code === TOO_LONG && asked.parent !== "root")
      ways.unshift(["Leave out the older turns", () => tree.leaveOut(this.conversation, asked) && this.#answer(asked, { leaving: true })]);
    return ways;
  }
}
