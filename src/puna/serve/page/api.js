// Questions to the server: OpenAI's interface, and what goes wrong in words.

import { events } from "./sse.js";

const KEY = "puna-key";

/** What is to be shown instead of an answer; `code` and `status` are the server's. */
export class Failure extends Error {
  constructor(message, { status = 0, code = null } = {}) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export const key = () => sessionStorage.getItem(KEY) ?? "";

export function setKey(value) {
  if (value) sessionStorage.setItem(KEY, value);
  else sessionStorage.removeItem(KEY);
}

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (key()) headers.Authorization = `Bearer ${key()}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers, credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    // A key with letters that no header can hold fails here, too, before anything is sent.
    if (error instanceof TypeError && /[^\x20-\x7e]/.test(key())) throw new Failure("The API key has letters that no key has.", { status: 401 });
    throw new Failure("The server cannot be reached. Does puna serve still run?");
  }
  if (response.ok) return response;
  throw await failure(response);
}

async function failure(response) {
  const { status } = response;
  let told = null;
  try {
    told = (await response.json()).error;
  } catch {
    // Not the server's own answer, but for example a proxy's.
  }
  // The server tells programs which header to send.
  if (status === 401) return new Failure(key() ? "The server does not know this API key." : "This server needs an API key.", { status });
  const words = told?.message ? sentence(String(told.message)) : `The server answered with status ${status}.`;
  const wait = status === 429 || status === 503 ? Number(response.headers.get("Retry-After")) : 0;
  return new Failure(wait > 0 ? `${words} Try again in ${wait} s.` : words, { status, code: told?.code ?? null });
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

/** The models that are served: [{id, title, context, chats}], the default one first. */
export async function models() {
  const { data } = await (await ask("/v1/models")).json();
  return data.map(({ id, title, max_model_len: context, chat }) => ({ id, title, context, chats: chat }));
}

/** Answers in pieces: {text}, {tokens}, {progress: [read, of]}, {finish}, {usage}. */
export async function* stream(path, body, signal) {
  const asked = { ...body, stream: true, stream_options: { include_usage: true } };
  const headers = { "Content-Type": "application/json" };
  const response = await ask(path, { method: "POST", headers, body: JSON.stringify(asked), signal });
  let ended = false;
  for await (const { data, comment } of events(response)) {
    if (comment !== undefined) {
      const read = /^prompt (\d+) of (\d+)$/.exec(comment);
      if (read) yield { progress: [Number(read[1]), Number(read[2])] };
    } else if (data === "[DONE]") {
      ended = true;
      break;
    } else {
      yield* pieces(JSON.parse(data));
    }
  }
  if (!ended) throw new Failure("The connection ended before the answer did.");
}

function* pieces(chunk) {
  if (chunk.error) throw new Failure(sentence(String(chunk.error.message)), { status: 500, code: chunk.error.code ?? null });
  const choice = chunk.choices?.[0];
  if (choice) {
    const tokens = choice.logprobs?.content ? chatTokens(choice.logprobs.content) : textTokens(choice.logprobs);
    if (tokens.length) yield { tokens };
    const text = choice.delta ? choice.delta.content : choice.text;
    if (text) yield { text };
    if (choice.finish_reason) yield { finish: choice.finish_reason };
  }
  if (chunk.usage) {
    const { prompt_tokens: prompt, completion_tokens: written, prompt_tokens_details: more } = chunk.usage;
    yield { usage: { prompt, written, cached: more?.cached_tokens ?? 0 } };
  }
}

// A token is kept as [text, log-probability, [[text, log-probability] of the likeliest]], which takes little room.
const short = (logprob) => Math.round(logprob * 1e4) / 1e4;

function chatTokens(content) {
  return content.map((token) => [
    shown(token), short(token.logprob), (token.top_logprobs ?? []).map((other) => [shown(other), short(other.logprob)]),
  ]);
}

function shown({ token, bytes }) {
  if (!bytes?.length) return token;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(bytes));
  } catch {
    return "bytes:" + bytes.map((byte) => "\\x" + byte.toString(16).padStart(2, "0")).join("");
  }
}

function textTokens(logprobs) {
  if (!logprobs?.tokens) return [];
  return logprobs.tokens.map((token, index) => [
    token, short(logprobs.token_logprobs[index] ?? 0),
    Object.entries(logprobs.top_logprobs?.[index] ?? {}).map(([text, value]) => [text, short(value)])
      .sort((one, other) => other[1] - one[1]),
  ]);
}
