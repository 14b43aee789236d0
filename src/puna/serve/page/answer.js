// One answer as it comes: its text, its tokens and how fast they are, in a record that others show.

import { announce } from "./dom.js";
import { stream } from "./api.js";

const SENTENCE = /[.!?…。！？]["'”’)\]]*(?=\s)|\n/g;
const number = (value) => value.toLocaleString("en");

/**
 * Asks the server and lets `record` grow: {content, tokens, usage, finish, first, seconds}; `changed` is called for each
 * piece. An error of the server is thrown; what was written stays.
 */
export async function receive(record, path, body, signal, changed) {
  const began = performance.now();
  let said = 0, first = null;
  Object.assign(record, { content: "", tokens: [], seed: body.seed, model: body.model, finish: null, usage: null, progress: null });
  try {
    for await (const piece of stream(path, body, signal)) {
      const now = performance.now();
      if (piece.progress) record.progress = piece.progress;
      if (piece.tokens || piece.text) {
        if (first === null) record.first = ((first = now) - began) / 1000;
        record.seconds = (now - first) / 1000;
        record.progress = null;
      }
      if (piece.tokens) record.tokens.push(...piece.tokens);
      if (piece.text) {
        record.content += piece.text;
        said = speak(record.content, said);
      }
      if (piece.finish) record.finish = piece.finish;
      if (piece.usage) record.usage = piece.usage;
      changed();
    }
  } catch (error) {
    record.finish = "stopped";
    if (error.name !== "AbortError") throw error;
  } finally {
    record.progress = null;
    if (record.content.length > said) announce(record.content.slice(said));
  }
}

/** Reads out the sentences that have ended since; to where it has read. */
function speak(text, from) {
  let end = from;
  SENTENCE.lastIndex = from;
  for (let found; (found = SENTENCE.exec(text)); ) end = found.index + found[0].length;
  if (text.slice(from, end).trim()) announce(text.slice(from, end).trim());
  return end;
}

const written = (record) => record.usage?.written ?? record.tokens.length;

/** Tokens and their speed, in words. */
export function speed(record) {
  const count = written(record);
  if (!count) return "";
  const words = [`${number(count)} ${count === 1 ? "token" : "tokens"}`];
  if (count > 1 && record.seconds > 0) words.push(`${((count - 1) / record.seconds).toFixed(1)} tokens/s`);
  return words.join(" · ");
}

/** What is going on before and while an answer is written. */
export function status(record) {
  if (record.progress) return `Reading: ${number(record.progress[0])} of ${number(record.progress[1])} tokens`;
  return record.first === undefined ? "Waiting for the model …" : speed(record);
}

/** All that is known of an answer: [name, value]. */
export function details(record) {
  const { usage } = record, known = [];
  if (record.model) known.push(["Model", record.model]);
  if (usage) known.push(["Prompt", `${number(usage.prompt)} tokens${usage.cached ? `, ${number(usage.cached)} of them from the cache` : ""}`]);
  if (speed(record)) known.push(["Answer", speed(record)]);
  if (record.first !== undefined) known.push(["First token", `after ${record.first.toFixed(2)} s`]);
  if (record.seed !== undefined) known.push(["Seed", String(record.seed)]);
  const ends = { stop: "the model ended it", length: "at the most tokens it may have", stopped: "it was stopped" };
  if (record.finish) known.push(["End", ends[record.finish] ?? record.finish]);
  return known;
}
