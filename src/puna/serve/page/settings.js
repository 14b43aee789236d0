// How answers are drawn: the fields, their defaults, and what of them goes into a request.

import { at, make } from "./dom.js";

// Temperature and top-p as `puna chat` and `puna generate` have them. The server has defaults of its own, which are those
// of OpenAI's interface; so everything that differs from "changes nothing" is sent.
const FIELDS = [
  { name: "temperature", label: "Temperature", min: 0, max: 2, step: 0.05, value: 0.8, neutral: 1, help: "0 always takes the likeliest token; 1 is the model itself." },
  { name: "top_p", label: "Top-p", min: 0, max: 1, step: 0.01, value: 0.95, neutral: 1, help: "Draws from the likeliest tokens that together have this share." },
  { name: "top_k", label: "Top-k", min: 0, max: 1000, step: 1, value: 0, neutral: 0, help: "Draws from this many of the likeliest tokens; 0 is all." },
  { name: "min_p", label: "Min-p", min: 0, max: 1, step: 0.01, value: 0, neutral: 0, help: "Leaves out tokens less likely than this share of the likeliest." },
  { name: "repetition_penalty", label: "Repetition penalty", min: 0.5, max: 2, step: 0.01, value: 1, neutral: 1, help: "Above 1, what was written becomes less likely." },
  { name: "presence_penalty", label: "Presence penalty", min: -2, max: 2, step: 0.1, value: 0, neutral: 0, help: "Taken from tokens that the answer has." },
  { name: "frequency_penalty", label: "Frequency penalty", min: -2, max: 2, step: 0.1, value: 0, neutral: 0, help: "The same, for each time that it has them." },
  { name: "max_tokens", label: "Tokens at most", min: 1, max: 1_000_000, step: 1, value: null, neutral: null, help: "Empty: 1,024 of an answer, 128 of a continued text." },
  { name: "seed", label: "Seed", min: 0, max: 2 ** 32 - 1, step: 1, value: null, neutral: null, help: "Empty: another one each time. The same seed draws the same text." },
];
const LONGEST = { chat: 1024, text: 128 };

export const defaults = () => ({ stop: "", ...Object.fromEntries(FIELDS.map(({ name, value }) => [name, value])) });

/** The fields of a request; a seed is drawn where none is set, so that each text can be written again. */
export function requested(settings, kind) {
  const body = {};
  for (const { name, neutral } of FIELDS) {
    const value = settings[name] ?? null;
    if (value !== neutral && value !== null) body[name] = value;
  }
  body.seed ??= crypto.getRandomValues(new Uint32Array(1))[0];
  body.max_tokens ??= LONGEST[kind];
  if (kind === "chat") {
    body.max_completion_tokens = body.max_tokens;
    delete body.max_tokens;
  }
  const stop = settings.stop.split("\n").filter((text) => text);
  if (stop.length) body.stop = stop.slice(0, 4);
  return body;
}

/** Builds the fields; `changed(settings)` is called with what they hold while all of them are valid. */
export function build(changed) {
  const read = () => {
    const settings = { stop: at("field-stop").value };
    for (const { name, value } of FIELDS) {
      const field = at(`field-${name}`);
      if (!field.checkValidity()) return;
      settings[name] = field.value === "" ? value : Number(field.value);
    }
    changed(settings);
  };
  const fields = FIELDS.map(({ name, label, min, max, step, help, value }) =>
    field(name, label, help, make("input", {
      id: `field-${name}`, type: "number", inputmode: "decimal", min, max, step, placeholder: value ?? "", oninput: read,
      "aria-describedby": `help-${name}`,
    })));
  const stop = make("textarea", { id: "field-stop", rows: "2", spellcheck: "false", oninput: read, "aria-describedby": "help-stop" });
  at("fields").replaceChildren(...fields, field("stop", "Stop at", "Texts that end an answer, one a line, four at most.", stop));
  at("reset").addEventListener("click", () => {
    show(defaults());
    read();
  });
}

const field = (name, label, help, input) =>
  make("div", { class: "field" }, make("label", { for: `field-${name}`, text: label }), input,
    make("p", { id: `help-${name}`, class: "soft", text: help }));

/** Puts settings into the fields. */
export function show(settings) {
  for (const { name } of FIELDS) at(`field-${name}`).value = settings[name] ?? "";
  at("field-stop").value = settings.stop;
}
