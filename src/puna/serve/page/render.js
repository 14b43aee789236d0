// Markdown as elements. What a model writes becomes elements of this list alone, and text; an image is a link to it.

import { blocks } from "./blocks.js";
import { copy, iconButton, make } from "./dom.js";
import { inline } from "./inline.js";

const LONGEST = 200_000;
const ELEMENTS = { strong: "strong", emphasis: "em", strike: "s" };

/** Shows a text in an element. Blocks that are as they were stay, so that a growing text costs its last block. */
export function render(element, text) {
  if (text.length > LONGEST) {
    element.replaceChildren(make("pre", { class: "plain", text }));
    return;
  }
  const lines = text.replace(/\r\n?/g, "\n").split("\n");
  const found = blocks(text);
  found.forEach((block, index) => {
    const source = lines.slice(...block.lines).join("\n") + (block.open === false ? "\n" : "");
    const there = element.children[index];
    if (there?.source === source) return;
    const made = show(block);
    made.source = source;
    if (there) there.replaceWith(made);
    else element.append(made);
  });
  while (element.childNodes.length > found.length) element.lastChild.remove();
}

function show(block) {
  switch (block.kind) {
    case "heading":
      // The page has headings of its own above these.
      return make(`h${Math.min(block.level + 2, 6)}`, { dir: "auto" }, ...shown(inline(block.text)));
    case "rule":
      return make("hr");
    case "code":
      return code(block);
    case "quote":
      return make("blockquote", {}, ...block.blocks.map(show));
    case "list":
      return list(block);
    case "table":
      return table(block);
    default:
      return make("p", { dir: "auto" }, ...shown(inline(block.text)));
  }
}

function code({ language, text }) {
  const name = language.slice(0, 40);
  const button = iconButton("copy", "Copy this code", () => copy(text, button));
  // It scrolls sideways, and the keyboard can do that only where it can be focused.
  const body = make("pre", { tabindex: "0", role: "group", "aria-label": `Code${name && `, ${name}`}` }, make("code", { text }));
  return make("figure", { class: "code" }, make("figcaption", {}, make("span", { text: name }), button), body);
}

function list({ ordered, start, loose, items }) {
  const entries = items.map(({ blocks: inside }) => {
    const parts = inside.flatMap((block) => (!loose && block.kind === "paragraph" ? shown(inline(block.text)) : [show(block)]));
    return make("li", { dir: "auto" }, ...parts);
  });
  return make(ordered ? "ol" : "ul", { start: ordered && start !== 1 ? String(start) : null }, ...entries);
}

function table({ aligned, head, rows }) {
  const row = (name, cells) =>
    make("tr", {}, ...cells.map((cell, at) => make(name, { class: aligned[at], dir: "auto" }, ...shown(inline(cell)))));
  return make("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Table" },
    make("table", {}, make("thead", {}, row("th", head)), make("tbody", {}, ...rows.map((cells) => row("td", cells)))));
}

function shown(parts) {
  return parts.map((part) => {
    if (typeof part === "string") return part;
    if (part.kind === "break") return make("br");
    if (part.kind === "code") return make("code", { text: part.text });
    if (part.kind in ELEMENTS) return make(ELEMENTS[part.kind], {}, ...shown(part.parts));
    return link(part);
  });
}

function link({ kind, url, parts }) {
  const inside = kind === "image" ? ["Image: ", ...shown(parts)] : shown(parts);
  if (!url) return make("span", {}, ...inside);
  return make("a", { href: url, title: url, target: "_blank", rel: "noopener noreferrer nofollow" }, ...inside);
}
