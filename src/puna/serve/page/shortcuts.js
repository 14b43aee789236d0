// What the keyboard does, once for the keys and once for the list of them.

import { at, make } from "./dom.js";

const MAC = /Mac|iPhone|iPad/.test(navigator.platform);
const inField = (event) => event.target.closest("input, textarea, select");

// [keys, what they do, the act's name, whether an event is them]; those without an act are handled where they belong.
const SHORTCUTS = [
  ["Enter", "Send the message"],
  ["Shift Enter", "New line"],
  ["↑", "Edit the last message, from an empty field"],
  ["Ctrl Enter", "Continue the text; send what is edited"],
  ["Esc", "Stop the answer", "stop", (event) => event.key === "Escape"],
  ["Ctrl Shift Enter", "Answer again", "again", (event) => event.key === "Enter" && event.shiftKey && command(event)],
  ["Ctrl Shift O", "New conversation", "fresh", (event) => event.key.toLowerCase() === "o" && event.shiftKey && command(event)],
  ["Ctrl K", "Search conversations", "search", (event) => event.key === "k" && command(event)],
  ["Ctrl ,", "Settings", "settings", (event) => event.key === "," && command(event)],
  ["/", "Go to the text field", "write", (event) => event.key === "/" && !inField(event) && !command(event)],
  ["?", "This list", "shortcuts", (event) => event.key === "?" && !inField(event)],
];

const command = (event) => (MAC ? event.metaKey : event.ctrlKey) && !event.altKey;

/** Fills the list and listens; `acts` has a function for each act's name, which gives false where it did nothing. */
export function listen(acts) {
  at("keys").replaceChildren(...SHORTCUTS.flatMap(([keys, does]) => [
    make("dt", {}, ...keys.split(" ").map((key) => make("kbd", { text: MAC && key === "Ctrl" ? "⌘" : key }))), make("dd", { text: does }),
  ]));
  document.addEventListener("keydown", (event) => {
    if (event.isComposing || event.defaultPrevented || document.querySelector("dialog[open]")) return;
    const found = SHORTCUTS.find(([, , act, matches]) => act && matches(event));
    if (found && acts[found[2]]() !== false) event.preventDefault();
  });
}
