// Elements are made here, of text and attributes; nothing on this page is ever parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An element with text, attributes and children; a child that is null is left out. */
export function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "text") made.textContent = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export const at = (id) => document.getElementById(id);

const PATHS = {
  menu: "M4 7h16M4 12h16M4 17h16",
  add: "M12 5v14M5 12h14",
  settings: "M4 8h9M17 8h3M4 16h3M11 16h9M15 5.5v5M9 13.5v5",
  send: "M12 19V5M6 11l6-6 6 6",
  stop: "M7 7h10v10H7z",
  copy: "M9 9h10v11H9zM15 9V4H5v11h4",
  done: "M5 12.5l4.5 4.5L19 7.5",
  again: "M19 12a7 7 0 1 1-2.1-5M17 3v4h-4",
  edit: "M5 19h3.5L19 8.5 15.5 5 5 15.5z",
  tokens: "M5 19V12M10 19V5M15 19V9M20 19v-4",
  previous: "M14.5 6l-6 6 6 6",
  next: "M9.5 6l6 6-6 6",
  more: "M6 12h.01M12 12h.01M18 12h.01",
  close: "M6 6l12 12M18 6L6 18",
  down: "M12 5v14M6 13l6 6 6-6",
  undo: "M9 6L4 11l5 5M4 11h10a6 6 0 0 1 6 6v1",
};

/** A drawing of lines, which screen readers pass over. */
export function icon(name) {
  const drawing = document.createElementNS(SVG, "svg");
  for (const [key, value] of [["viewBox", "0 0 24 24"], ["aria-hidden", "true"], ["class", "icon"]])
    drawing.setAttribute(key, value);
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", PATHS[name]);
  drawing.append(line);
  return drawing;
}

/** A button that shows a drawing and is called by its label. */
export const iconButton = (name, label, onclick, attributes = {}) =>
  make("button", { type: "button", class: "quiet", "aria-label": label, title: label, onclick, ...attributes }, icon(name));

/** Tells screen readers something in words, once they have ended their sentence. */
export function announce(text) {
  const region = at("announcer");
  region.append(make("p", { text }));
  while (region.childElementCount > 4) region.firstElementChild.remove();
}

/** Copies a text; the button says for a moment that it is done. */
export async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Pages that are not served from this machine or by TLS have no clipboard of their own.
    const area = make("textarea", { class: "apart" });
    area.value = text;
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  const before = [...button.childNodes];
  button.replaceChildren(icon("done"));
  announce("Copied");
  setTimeout(() => button.replaceChildren(...before), 1200);
}

/** Lets a text area be as high as its text. */
export function grow(area) {
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight + area.offsetHeight - area.clientHeight}px`;
}

/** A dialog's answer to a click beside it: it closes. */
export function closeBeside(dialog) {
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
}

/** Draws at the screen's pace, and more rarely where drawing takes long, so that the page stays at hand. */
export function paced(draw) {
  let waits = false, pause = 0;
  const begin = () => requestAnimationFrame(() => {
    const began = performance.now();
    waits = false;
    draw();
    pause = 3 * (performance.now() - began);
  });
  return () => {
    if (waits) return;
    waits = true;
    if (pause > 30) setTimeout(begin, pause);
    else begin();
  };
}
