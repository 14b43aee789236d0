// A conversation as a tree of turns: an edited question and a second answer stand beside the first, and one of them is
// shown. Turns are kept in one object by their ids; the root holds no text.

export const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(9)), (byte) => byte.toString(36)).join("");

/** A conversation without turns. */
export function newConversation({ kind, model, system = "", settings }) {
  const now = Date.now();
  const turns = { root: { id: "root", parent: null, role: "root", content: "", children: [], shown: 0 } };
  return { id: newId(), kind, title: "", named: false, created: now, updated: now, model, system, settings, turns, from: null };
}

/** The turns that are shown, the first one first. */
export function path(conversation) {
  const shown = [];
  let turn = conversation.turns.root;
  while (turn.children.length) {
    turn = conversation.turns[turn.children[turn.shown]];
    shown.push(turn);
  }
  return shown;
}

/** Puts a turn after another, beside those that are there, and shows it. */
export function add(conversation, parent, role, content, more = {}) {
  const turn = { id: newId(), parent, role, content, children: [], shown: 0, ...more };
  const before = conversation.turns[parent];
  conversation.turns[turn.id] = turn;
  before.shown = before.children.push(turn.id) - 1;
  return turn;
}

/** Where a turn stands among those in its place: [index, number]. */
export function place(conversation, turn) {
  const { children } = conversation.turns[turn.parent];
  return [children.indexOf(turn.id), children.length];
}

/** Shows another turn in this one's place. */
export function step(conversation, turn, by) {
  const before = conversation.turns[turn.parent];
  before.shown = Math.min(Math.max(before.shown + by, 0), before.children.length - 1);
}

/** Takes a turn and all that follows it out. */
export function remove(conversation, turn) {
  const before = conversation.turns[turn.parent];
  before.children = before.children.filter((id) => id !== turn.id);
  before.shown = Math.max(0, Math.min(before.shown, before.children.length - 1));
  const left = [turn.id];
  while (left.length) {
    const id = left.pop();
    left.push(...conversation.turns[id].children);
    delete conversation.turns[id];
  }
}

/** What the model reads: the system prompt and the turns up to one, without those that were left out. */
export function messages(conversation, last) {
  const turns = [];
  for (let turn = last; turn.role !== "root"; turn = conversation.turns[turn.parent]) {
    turns.unshift({ role: turn.role, content: turn.content });
    if (turn.id === conversation.from) break;
  }
  return conversation.system ? [{ role: "system", content: conversation.system }, ...turns] : turns;
}

/** Leaves the older half of what the model reads out of it; false where one question is all. */
export function leaveOut(conversation, last) {
  const shown = path(conversation);
  const end = shown.indexOf(last), begin = Math.max(0, shown.findIndex((turn) => turn.id === conversation.from));
  const asked = shown.slice(begin + 1, end + 1).filter((turn) => turn.role === "user");
  if (!asked.length) return false;
  conversation.from = asked[Math.floor((asked.length - 1) / 2)].id;
  return true;
}

/** A title from the first words of a text. */
export function titleOf(text) {
  const line = text.trim().split("\n", 1)[0].replace(/\s+/g, " ");
  return line.length <= 48 ? line : line.slice(0, 48).replace(/\s\S*$/, "") + "…";
}
