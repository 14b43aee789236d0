// The list of conversations: newest first, found by their words, each with a menu.

import { at, icon, make } from "./dom.js";

const DAY = 24 * 3600 * 1000;

function when(time) {
  const now = new Date(), then = new Date(time), midnight = new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime();
  if (time >= midnight) return "Today";
  if (time >= midnight - DAY) return "Yesterday";
  if (time >= midnight - 6 * DAY) return "This week";
  return then.toLocaleDateString("en", { month: "long", year: "numeric" });
}

/** All words of a conversation, in lower case. */
function words(conversation) {
  const texts = conversation.kind === "text" ? (conversation.pieces ?? []).map(({ text }) => text)
    : Object.values(conversation.turns).map(({ content }) => content);
  return [conversation.title, ...texts].join("\n").toLowerCase();
}

/** The conversations that have all words of a query. */
export function search(conversations, query) {
  const wanted = query.toLowerCase().split(/\s+/).filter((word) => word);
  if (!wanted.length) return conversations;
  return conversations.filter((conversation) => {
    const text = words(conversation);
    return wanted.every((word) => text.includes(word));
  });
}

/** Shows the list; `acts` has {open(conversation)} and, for the menu, [label, act(conversation)] for each of `menu(it)`. */
export function showList(conversations, current, acts) {
  const query = at("search").value, shown = search(conversations, query);
  at("found").textContent = query.trim() ? `${shown.length} of ${conversations.length}` : "";
  let group = "";
  const entries = [];
  for (const conversation of shown) {
    const its = when(conversation.updated);
    if (its !== group) entries.push(make("li", { class: "group soft", text: (group = its) }));
    entries.push(entry(conversation, conversation.id === current?.id, acts));
  }
  at("list").replaceChildren(...entries);
}

function entry(conversation, current, acts) {
  const title = conversation.title || "Untitled";
  const open = make("button", { type: "button", class: "open", "aria-current": current ? "true" : null, dir: "auto", title, text: title, onclick: () => acts.open(conversation) });
  const menu = make("details", { class: "menu", name: "menu" },
    make("summary", { "aria-label": `More for ${title}`, title: "More" }, icon("more")),
    make("div", { class: "choices" }, ...acts.menu(conversation).map(([label, act]) =>
      make("button", { type: "button", class: label.startsWith("Delete") ? "danger" : null, text: label, onclick: () => ((menu.open = false), act()) }))));
  menu.addEventListener("toggle", () => {
    // A menu near the list's end opens upwards, since the list would cut it.
    menu.classList.toggle("up", menu.open && menu.getBoundingClientRect().bottom + 190 > innerHeight);
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    event.stopPropagation();
    menu.open = false;
    menu.firstElementChild.focus();
  });
  return make("li", { class: current ? "entry current" : "entry" }, open, menu);
}
