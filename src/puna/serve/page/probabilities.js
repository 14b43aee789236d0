// The tokens of an answer: how likely the model found each, and what it might have written instead.

import { at, make } from "./dom.js";

const percent = (logprob) => {
  const share = 100 * Math.exp(logprob);
  return share >= 99.95 ? "100 %" : share >= 0.1 ? `${share.toFixed(1)} %` : "< 0.1 %";
};
// The likelier, the paler: five steps, so that the style sheet has them in the light and in the dark.
const level = (logprob) => [0.8, 0.5, 0.2, 0.05].filter((share) => Math.exp(logprob) < share).length;
const visible = (text) => text.replace(/^bytes:/, "").replace(/ /g, "·").replace(/\n/g, "⏎").replace(/\t/g, "⇥");
const spoken = (text) => (text === "\n" ? "new line" : text.trim() === "" ? "space" : text);

let open = null;

/** Takes the small window with alternatives away. */
export function hide() {
  if (!open) return false;
  open.removeAttribute("aria-describedby");
  open = null;
  at("alternatives").hidden = true;
  return true;
}

function show(span, [text, logprob, others], take) {
  hide();
  open = span;
  const box = at("alternatives");
  const rows = others.some(([other]) => other === text) ? others : [...others, [text, logprob]];
  box.replaceChildren(
    make("p", {}, make("code", { text: visible(text) }), ` ${percent(logprob)}`),
    make("ol", {}, ...rows.map(([other, value]) => row(other, value, other === text, take))),
  );
  if (take) box.append(make("p", { class: "soft", text: "Choose one to go on from here with it." }));
  box.hidden = false;
  span.setAttribute("aria-describedby", "alternatives");
  placeBeside(box, span);
}

function row(text, logprob, chosen, take) {
  const bar = make("i");
  bar.style.inlineSize = `${Math.max(1, 100 * Math.exp(logprob))}%`;
  const cells = [make("code", { text: visible(text) }), make("span", { class: "bar" }, bar), make("span", { class: "n", text: percent(logprob) })];
  if (!take || chosen || text.startsWith("bytes:")) return make("li", { class: chosen ? "chosen" : null }, ...cells);
  const button = make("button", { type: "button", "aria-label": `Go on with ${spoken(text)}, ${percent(logprob)}`, onclick: () => (hide(), take(text)) });
  button.append(...cells);
  return make("li", {}, button);
}

function placeBeside(box, span) {
  const beside = span.getClientRects()[0] ?? span.getBoundingClientRect(), own = box.getBoundingClientRect();
  const left = Math.min(Math.max(8, beside.left), innerWidth - own.width - 8);
  const below = beside.bottom + 6;
  const top = below + own.height < innerHeight - 8 ? below : Math.max(8, beside.top - own.height - 6);
  box.style.left = `${left}px`;
  box.style.top = `${top}px`;
}

/**
 * Shows tokens in an element. Arrow keys go from one to the next; `take(index, text)` is what choosing an alternative
 * does, null where it does nothing.
 */
export function showTokens(element, tokens, take = null) {
  const spans = tokens.map((token, index) => {
    const span = make("span", {
      class: `token p${level(token[1])}`, tabindex: index ? "-1" : "0", role: "button",
      "aria-label": `${spoken(token[0])}, ${percent(token[1])}`,
    }, token[0].startsWith("bytes:") ? token[0].slice(6) : token[0]);
    const choose = take && ((text) => take(index, text));
    span.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && show(span, token, choose));
    span.addEventListener("focus", () => show(span, token, choose));
    span.addEventListener("click", () => show(span, token, choose));
    return span;
  });
  const group = make("div", {
    class: "tokens", role: "group", dir: "auto",
    "aria-label": "Tokens and their probabilities; arrow keys go through them, Enter goes to the alternatives",
  }, ...spans);
  group.addEventListener("keydown", (event) => walk(event, spans));
  element.replaceChildren(group);
}

function walk(event, spans) {
  const here = spans.indexOf(document.activeElement);
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  const to = step ? here + step : { Home: 0, End: spans.length - 1 }[event.key];
  if (event.key === "Enter" || event.key === " ") {
    at("alternatives").querySelector("button")?.focus();
    event.preventDefault();
  }
  if (here < 0 || to === undefined || !spans[to]) return;
  event.preventDefault();
  spans[here].tabIndex = -1;
  spans[to].tabIndex = 0;
  spans[to].focus();
}

/** Lets the window go away: by a click elsewhere, and by Escape. It moves with its text. */
export function listen(scroller) {
  const outside = (event) => {
    if (open && !at("alternatives").contains(event.target) && event.target !== open) hide();
  };
  document.addEventListener("pointerdown", outside);
  document.addEventListener("focusin", outside);
  const follow = () => open && (open.isConnected ? placeBeside(at("alternatives"), open) : hide());
  scroller.addEventListener("scroll", follow);
  addEventListener("resize", follow);
  at("alternatives").addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    const back = open;
    back?.focus();
    hide();
  });
  document.addEventListener("pointerover", (event) => {
    const away = open && event.pointerType === "mouse" && !event.target.closest(".token, #alternatives");
    if (away && document.activeElement !== open && !at("alternatives").contains(document.activeElement)) hide();
  });
}
