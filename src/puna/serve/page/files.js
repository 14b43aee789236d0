// Conversations as files: in the form in which `puna chat` keeps them, and as Markdown.

import { make } from "./dom.js";
import { add, newConversation, path, titleOf } from "./tree.js";

const ROLES = ["system", "user", "assistant", "tool"];
const LARGEST = 1 << 26;
const NAMES = { system: "System", user: "You", assistant: "Model", tool: "Tool" };

const turns = (conversation) => [
  ...(conversation.system ? [{ role: "system", content: conversation.system }] : []),
  ...path(conversation).map(({ role, content }) => ({ role, content })),
];

/** The turns that are shown: `{"version": 1, "messages": [...]}`. */
export const asJson = (conversation) => JSON.stringify({ version: 1, messages: turns(conversation) }, null, 1) + "\n";

/** The turns that are shown, below headings. */
export const asMarkdown = (conversation) =>
  `# ${conversation.title || "Conversation"}\n\n` + turns(conversation).map(({ role, content }) => `## ${NAMES[role]}\n\n${content.trim()}\n`).join("\n");

export const asText = (conversation) => conversation.pieces.map(({ text }) => text).join("");

/** Hands a file out. */
export function download(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** A file's name from a title. */
export const nameOf = (conversation, ending) =>
  (conversation.title.normalize("NFKC").replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, 60) || "conversation") + ending;

/** A conversation of a file's text; an Error with a sentence where it is none. */
export function read(text, { model, settings }) {
  if (text.length > LARGEST) throw new Error("The file is larger than a conversation can be.");
  let data;
  try {
    data = JSON.parse(text);
  } catch {
    throw new Error("The file is not JSON.");
  }
  if (data === null || typeof data !== "object" || !Array.isArray(data.messages)) throw new Error("The file is not a saved conversation: it has no list of messages.");
  if (data.version !== 1) throw new Error("The file has a version that this page does not know.");
  const conversation = newConversation({ kind: "chat", model, settings });
  let last = "root";
  data.messages.forEach((message, index) => {
    const { role, content } = message ?? {};
    if (!ROLES.includes(role) || typeof content !== "string") throw new Error(`Message ${index + 1} of the file has no role and text that are known here.`);
    if (role === "system" && index) throw new Error(`Message ${index + 1} of the file is a system prompt, which only the first can be.`);
    if (role === "system") conversation.system = content;
    else last = add(conversation, last, role, content).id;
  });
  if (last === "root") throw new Error("The file has no turns.");
  conversation.title = titleOf(path(conversation)[0].content);
  return conversation;
}
