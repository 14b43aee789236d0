// The page: which conversation is shown with which model, and what its buttons do.

import { Failure, key, models, setKey } from "./api.js";
import { ChatView } from "./chat.js";
import { announce, at, closeBeside, grow, icon, make } from "./dom.js";
import { DraftView } from "./draft.js";
import * as files from "./files.js";
import { showList } from "./list.js";
import * as probabilities from "./probabilities.js";
import * as settings from "./settings.js";
import * as shortcuts from "./shortcuts.js";
import * as store from "./store.js";
import { newConversation, path } from "./tree.js";

let served = [], all = [], view = null, pinned = true;
const unsent = new Map();
const scroller = at("scroller");
const coarse = matchMedia("(pointer: coarse)"), narrow = matchMedia("(max-width: 52rem)");

const current = () => view?.conversation;
const modelOf = (conversation) => served.find(({ id }) => id === conversation?.model);
const isEmpty = (conversation) => (conversation.kind === "text" ? !conversation.pieces?.length : !path(conversation).length);

// What a view asks of the page.
const page = {
  async save() {
    const conversation = current();
    try {
      if (isEmpty(conversation) && !all.includes(conversation)) return;
      if (!all.includes(conversation)) all.unshift(conversation);
      all.sort((one, other) => other.updated - one.updated);
      list();
      await store.put(conversation);
    } catch {
      page.failed(new Error("The browser could not keep this conversation: its storage is full or closed."));
    }
  },
  changed() {
    title();
    controls();
  },
  modelTitle: () => modelOf(current())?.title ?? "",
  say: (text) => (at("status").textContent = text),
  began() {
    pinned = true;
    at("notice").hidden = true;
    probabilities.hide();
    controls();
    page.scroll();
  },
  scroll() {
    if (pinned) scroller.scrollTop = scroller.scrollHeight;
    at("latest").hidden = pinned;
  },
  failed(error, ways = []) {
    if (!(error instanceof Failure) && error.name !== "Error") console.error(error);
    const words = error instanceof Failure || error.name === "Error" ? error.message : "Something on this page went wrong.";
    const all = error.status === 401 ? [["Enter an API key", () => openSettings("key")], ...ways] : ways;
    const buttons = all.map(([text, act]) => make("button", { type: "button", class: "second", text, onclick: () => ((at("notice").hidden = true), act()) }));
    const close = make("button", { type: "button", class: "second", text: "Dismiss", onclick: () => ((at("notice").hidden = true), field().focus()) });
    at("notice").replaceChildren(make("p", { text: words }), make("div", { class: "row" }, ...buttons, close));
    at("notice").hidden = false;
  },
};

const field = () => (current()?.kind === "text" ? at("draft") : at("say"));

/** Buttons and lines that depend on what is shown and whether it is being answered. */
function controls() {
  const conversation = current(), running = Boolean(view?.running), text = conversation?.kind === "text";
  at("ask").hidden = text;
  at("continue").hidden = !text;
  at("text").hidden = !text;
  at("turns").hidden = text;
  const send = at("send"), go = at("go");
  send.replaceChildren(icon(running ? "stop" : "send"));
  send.setAttribute("aria-label", running ? "Stop" : "Send");
  send.title = running ? "Stop (Esc)" : "Send (Enter)";
  send.disabled = !running && (!conversation || !at("say").value.trim());
  go.replaceChildren(icon(running ? "stop" : "send"), running ? "Stop" : "Continue");
  go.disabled = !conversation;
  at("model").disabled = running || !served.length;
  at("context").replaceChildren(...used(conversation));
}

/** How much of the context is taken. */
function used(conversation) {
  const context = modelOf(conversation)?.context;
  if (!context) return [];
  const usage = conversation.kind === "text" ? null : path(conversation).filter((turn) => turn.usage).at(-1)?.usage;
  const number = (value) => value.toLocaleString("en");
  if (!usage) return [`${number(context)} tokens`];
  return [`${number(usage.prompt + usage.written)} / ${number(context)}`, make("span", { text: " tokens" })];
}

function title() {
  const conversation = current(), words = conversation?.title || "New conversation";
  at("title").textContent = words;
  document.title = conversation?.title ? `${words} · Puna` : "Puna";
}

function list() {
  showList(all, current(), { open: (conversation) => (show(conversation), side(false), field().focus()), menu });
}

const menu = (conversation) => [
  ["Rename …", () => rename(conversation)],
  ...(conversation.kind === "text"
    ? [["Export as text", () => files.download(files.nameOf(conversation, ".txt"), files.asText(conversation), "text/plain")]]
    : [["Export as JSON", () => files.download(files.nameOf(conversation, ".json"), files.asJson(conversation), "application/json")],
      ["Export as Markdown", () => files.download(files.nameOf(conversation, ".md"), files.asMarkdown(conversation), "text/markdown")]]),
  ["Delete …", () => remove(conversation)],
];

/** Shows a conversation; an answer that is being written to another one ends there. */
function show(conversation) {
  if (view?.running) view.stop();
  if (view) unsent.set(current().id, at("say").value);
  if (!modelOf(conversation) && served.length) {
    const fits = served.find(({ chats }) => chats === (conversation.kind === "chat"));
    if (fits) conversation.model = fits.id;
  }
  at("notice").hidden = true;
  page.say("");
  view = conversation.kind === "text" ? new DraftView(page, conversation) : new ChatView(page, conversation);
  at("say").value = unsent.get(conversation.id) ?? "";
  at("model").value = conversation.model;
  store.setLast({ open: conversation.id });
  page.changed();
  list();
  grow(at("say"));
  if (conversation.kind === "text") grow(at("draft"));
  pinned = true;
  page.scroll();
}

/** A new conversation with a model; it is kept from its first turn on. */
function fresh(id) {
  const last = store.last(), before = current();
  const model = served.find((one) => one.id === (id ?? before?.model ?? last.model)) ?? served[0];
  if (!model) return false;
  show(newConversation({
    kind: model.chats ? "chat" : "text", model: model.id, system: last.system ?? "", settings: { ...settings.defaults(), ...last.settings },
  }));
  side(false);
  if (!coarse.matches) field().focus();
  return true;
}

function chooseModel() {
  const conversation = current(), model = served.find(({ id }) => id === at("model").value);
  store.setLast({ model: model.id });
  if (isEmpty(conversation) || model.chats !== (conversation.kind === "chat")) {
    if (!isEmpty(conversation)) announce("A new conversation, since this model needs another form of it");
    fresh(model.id);
    return;
  }
  conversation.model = model.id;
  page.save();
  page.changed();
}

/** Asks in a dialog: the text that was entered, true without a field, or null. */
function question(text, yes, value = null) {
  const dialog = at("question"), input = at("question-input");
  at("question-text").textContent = text;
  at("question-yes").textContent = yes;
  at("question-yes").className = value === null ? "danger" : "";
  input.hidden = value === null;
  input.value = value ?? "";
  dialog.returnValue = "";
  dialog.showModal();
  (value === null ? at("question-yes") : input).focus();
  input.select();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue !== "yes" ? null : value === null ? true : input.value.trim()), { once: true });
  });
}

async function rename(conversation) {
  const name = await question("Name of the conversation", "Rename", conversation.title);
  if (!name) return;
  Object.assign(conversation, { title: name, named: true });
  await store.put(conversation);
  title();
  list();
}

async function remove(conversation) {
  if (!(await question(`Delete “${conversation.title}”?`, "Delete"))) return;
  all = all.filter(({ id }) => id !== conversation.id);
  const shown = current() === conversation;
  if (shown) view.stop();
  await store.remove(conversation.id);
  if (shown) fresh();
  list();
  announce("Deleted");
}

async function forget() {
  at("settings").close();
  if (!(await question(`Delete all ${all.length} conversations of this browser?`, "Delete all"))) return;
  view?.stop();
  for (const { id } of all) await store.remove(id);
  all = [];
  fresh();
}

async function load(file) {
  const chats = served.find((model) => model.chats);
  try {
    if (!chats) throw new Error("No model that is served here takes conversations.");
    const conversation = files.read(await file.text(), { model: modelOf(current())?.chats ? current().model : chats.id, settings: { ...current().settings } });
    all.unshift(conversation);
    await store.put(conversation);
    show(conversation);
    side(false);
  } catch (error) {
    page.failed(error);
  }
}

function openSettings(id) {
  const conversation = current();
  if (conversation) settings.show(conversation.settings);
  at("system").value = conversation?.system ?? "";
  at("system-field").hidden = conversation?.kind === "text";
  at("key").value = key();
  at("forget").hidden = !all.length;
  at("settings").showModal();
  at(id ?? "settings-close").focus();
}

function changedSettings(changed) {
  const conversation = current();
  if (!conversation) return;
  conversation.settings = changed;
  conversation.system = at("system").value;
  store.setLast({ settings: changed, system: conversation.system });
  if (!isEmpty(conversation)) store.put(conversation).catch(() => {});
}

/** The list beside the page; on a phone it lies over it. */
function side(open) {
  if (!narrow.matches) {
    if (open === undefined) document.body.classList.toggle("wide");
    return;
  }
  const opens = open ?? !document.body.classList.contains("side");
  if (opens === document.body.classList.contains("side")) return;
  document.body.classList.toggle("side", opens);
  at("shade").hidden = !opens;
  at("page").inert = opens;
  at("side-open").setAttribute("aria-expanded", String(opens));
  at(opens ? "side-close" : "side-open").focus();
}

async function findModels() {
  try {
    served = await models();
  } catch (error) {
    page.failed(error, [["Try again", findModels]]);
    controls();
    return;
  }
  at("notice").hidden = true;
  at("model").replaceChildren(...served.map(({ id }) => make("option", { value: id, text: id })));
  const open = all.find(({ id }) => id === store.last().open);
  if (current()) show(current());
  else if (open) show(open);
  else fresh();
}

function draw() {
  const icons = { "side-open": "menu", "side-close": "close", "settings-open": "settings", "settings-close": "close", "shortcuts-close": "close", latest: "down" };
  for (const [id, name] of Object.entries(icons)) at(id).append(icon(name));
  at("new").append(icon("add"), "New conversation");
  at("undo").append(icon("undo"), "Undo");
  at("draft-view").append(icon("tokens"), "Probabilities");
}

function listen() {
  const clicks = {
    new: () => fresh(), import: () => at("file").click(), "side-open": () => side(), "side-close": () => side(false),
    shade: () => side(false), "settings-open": () => openSettings(), "shortcuts-open": () => at("shortcuts").showModal(),
    "question-no": () => at("question").close(), undo: () => view.undo(), "draft-view": () => view.toggle(), forget,
    latest: () => ((pinned = true), page.scroll(), field().focus()),
  };
  for (const [id, act] of Object.entries(clicks)) at(id).addEventListener("click", act);
  for (const dialog of document.querySelectorAll("dialog")) closeBeside(dialog);
  at("search").addEventListener("input", list);
  at("model").addEventListener("change", chooseModel);
  at("file").addEventListener("change", () => {
    if (at("file").files[0]) load(at("file").files[0]);
    at("file").value = "";
  });
  at("system").addEventListener("input", () => changedSettings(current()?.settings));
  at("settings").addEventListener("close", () => {
    const changed = at("key").value.trim() !== key();
    setKey(at("key").value.trim());
    if (changed) findModels();
  });
  at("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  at("say").addEventListener("input", () => (grow(at("say")), controls()));
  at("say").addEventListener("keydown", sayKeys);
  at("draft").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    submit();
  });
  scroller.addEventListener("scroll", () => {
    pinned = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 60;
    at("latest").hidden = pinned;
  });
  addEventListener("resize", () => (grow(at("say")), current()?.kind === "text" && grow(at("draft")), page.scroll()));
  narrow.addEventListener("change", () => {
    document.body.classList.remove("side");
    at("page").inert = false;
    at("shade").hidden = true;
  });
}

function submit() {
  if (!view) return;
  if (view.running) view.stop();
  else if (current().kind === "text") view.go({ keep: true });
  else if (view.say(at("say").value)) {
    at("say").value = "";
    grow(at("say"));
    controls();
  }
}

function sayKeys(event) {
  if (event.isComposing) return;
  if (event.key === "ArrowUp" && !at("say").value && view instanceof ChatView && !view.running) {
    event.preventDefault();
    view.editLast();
  }
  // A keyboard on glass has no Shift with Enter: its Enter is a new line, and the button sends.
  if (event.key !== "Enter" || event.shiftKey || event.ctrlKey || event.metaKey || coarse.matches) return;
  event.preventDefault();
  if (!view?.running) submit();
}

async function start() {
  draw();
  settings.build(changedSettings);
  listen();
  probabilities.listen(scroller);
  shortcuts.listen({
    stop: () => (probabilities.hide() ? true : narrow.matches && document.body.classList.contains("side") ? side(false) : view?.running ? view.stop() : false),
    again: () => (view instanceof ChatView ? view.again() : false),
    fresh: () => fresh(),
    search: () => (side(true), at("search").focus()),
    settings: () => openSettings(),
    write: () => field().focus(),
    shortcuts: () => at("shortcuts").showModal(),
  });
  const kept = await store.open();
  all = await store.all();
  list();
  await findModels();
  if (!kept) page.failed(new Error("This browser keeps nothing (a private window?): conversations last as long as this tab."));
}

start();
