// How the turns of a conversation are shown, each with what can be done with it.

import { details, speed } from "./answer.js";
import { copy, grow, iconButton, make } from "./dom.js";
import { showTokens } from "./probabilities.js";
import { render } from "./render.js";
import { place } from "./tree.js";

/**
 * An element for a turn. `acts` says what its buttons do: {edit(turn, text), again(turn), step(turn, by), rendered()}.
 * `refresh()` shows the turn as it is now.
 */
export class TurnView {
  #conversation;
  #turn;
  #acts;
  #body = make("div", { class: "body" });
  #more = make("div", { class: "more" });
  #actions = make("div", { class: "actions" });
  #shows = "text";

  constructor(conversation, turn, acts) {
    [this.#conversation, this.#turn, this.#acts] = [conversation, turn, acts];
    const name = turn.role === "user" ? "You" : turn.role === "assistant" ? turn.model || "Model" : turn.role;
    this.element = make("article", { class: `turn ${turn.role}`, "aria-label": name },
      make("h2", { class: "apart", text: name }), this.#body, this.#more, this.#actions);
    this.refresh();
  }

  /** Shows the text and, unless it is still being written, what can be done with it. */
  refresh({ running = false } = {}) {
    const turn = this.#turn;
    if (this.#shows === "editor") return;
    this.element.classList.toggle("running", running);
    if (this.#shows === "tokens" && !running) showTokens(this.#body, turn.tokens);
    else if (turn.role === "assistant") this.#renderText();
    else this.#body.replaceChildren(make("div", { class: "said", dir: "auto", text: turn.content }));
    this.#actions.hidden = running;
    if (!running) this.#showActions();
  }

  #renderText() {
    let words = this.#body.firstElementChild;
    if (words?.className !== "words") this.#body.replaceChildren((words = make("div", { class: "words" })));
    if (words.shows !== this.#turn.content) render(words, (words.shows = this.#turn.content));
  }

  #showActions() {
    const turn = this.#turn, [index, count] = place(this.#conversation, turn), answer = turn.role === "assistant";
    const buttons = [];
    if (count > 1) {
      buttons.push(make("span", { class: "branches" },
        iconButton("previous", "The version before", () => this.#acts.step(turn, -1), { disabled: index === 0 }),
        make("span", { text: `${index + 1}/${count}`, "aria-label": `Version ${index + 1} of ${count}` }),
        iconButton("next", "The next version", () => this.#acts.step(turn, 1), { disabled: index === count - 1 })));
    }
    const copies = iconButton("copy", "Copy the text", () => copy(turn.content, copies));
    buttons.push(copies, iconButton("edit", "Edit", () => this.edit()));
    if (answer) {
      buttons.push(iconButton("again", "Answer again", () => this.#acts.again(turn)));
      if (turn.tokens?.length) {
        buttons.push(iconButton("tokens", "Probabilities", () => this.#toggle(), { "aria-pressed": String(this.#shows === "tokens") }));
      }
      buttons.push(make("span", { class: "soft speed", text: speed({ tokens: [], ...turn }) }));
    }
    this.#actions.replaceChildren(...buttons);
    this.#showMore();
  }

  #showMore() {
    const known = this.#shows === "tokens" ? details(this.#turn) : [];
    const rows = known.flatMap(([name, value]) => [make("dt", { text: name }), make("dd", { text: value })]);
    const cut = this.#turn.finish === "length" && this.#shows === "text";
    this.#more.replaceChildren(
      ...(rows.length ? [make("dl", { class: "details" }, ...rows)] : []),
      ...(cut ? [make("p", { class: "soft", text: "It ends here because it has as many tokens as it may have." })] : []),
    );
  }

  #toggle() {
    this.#shows = this.#shows === "tokens" ? "text" : "tokens";
    this.#body.replaceChildren();
    this.refresh();
    this.#actions.querySelector("[aria-pressed]").focus();
  }

  /** Puts an editor in the text's place. */
  edit() {
    const turn = this.#turn, answer = turn.role === "assistant";
    const area = make("textarea", { "aria-label": answer ? "Edit the answer" : "Edit your message", rows: "2", dir: "auto", oninput: () => grow(area) });
    const close = () => {
      this.#shows = "text";
      this.#body.replaceChildren();
      this.refresh();
      this.#actions.querySelector('[aria-label="Edit"]').focus();
    };
    const save = () => {
      const text = area.value;
      if (!text.trim()) return;
      close();
      if (text !== turn.content || !answer) this.#acts.edit(turn, text);
    };
    const keys = (event) => {
      if (event.isComposing) return;
      if (event.key === "Escape") event.stopPropagation(), close();
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.preventDefault(), save();
    };
    area.value = turn.content;
    this.#shows = "editor";
    this.#actions.replaceChildren();
    this.#more.replaceChildren();
    this.#body.replaceChildren(make("div", { class: "editor", onkeydown: keys }, area,
      make("div", { class: "row" }, make("button", { type: "button", class: "second", onclick: close, text: "Cancel" }),
        make("button", { type: "button", onclick: save, text: answer ? "Save" : "Send" }))));
    grow(area);
    area.focus();
  }
}
