// Markdown within a paragraph, after CommonMark 0.31, with ~~strikes~~ and bare addresses of GitHub's dialect. Work grows
// with the text's length and not faster: each bracket and each row of stars is looked at a bounded number of times.

const PUNCTUATION = /[\p{P}\p{S}]/u;
const ESCAPABLE = /[!-/:-@[-`{-~]/;
const AUTOLINK = /<((?:https?|mailto):[^\s<>]{1,2000})>/iy;
const BARE = /https?:\/\/[^\s<>"']{1,2000}/iy;
const LONGEST = 1000, DEEPEST = 32;
const SAFE = new Set(["http:", "https:", "mailto:"]);

/** An address that a link may have, or null: nothing that runs, and nothing of this server. */
export function address(text) {
  try {
    const url = new URL(text);
    return SAFE.has(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

/**
 * The parts of a text: strings, {kind: "strong" | "emphasis" | "strike" | "link" | "image", parts, ...},
 * {kind: "code", text} and {kind: "break"}.
 */
export function inline(text) {
  const nodes = [], brackets = [], ticks = rows(text);
  let plain = "";
  const flush = () => {
    if (plain) nodes.push(plain);
    plain = "";
  };
  for (let at = 0; at < text.length; ) {
    const sign = text[at];
    if (sign === "\\") {
      const next = text[at + 1];
      if (next === "\n") {
        flush();
        nodes.push({ kind: "break" });
      } else plain += next !== undefined && ESCAPABLE.test(next) ? next : "\\" + (next ?? "");
      at += 2;
    } else if (sign === "`") {
      // Of a row behind a backslash, the first is a sign like others.
      const length = ticks.get(at) ?? /^`+/.exec(text.slice(at))[0].length, end = closing(ticks, at, length);
      if (end === null) plain += text.slice(at, at + length);
      else {
        flush();
        nodes.push({ kind: "code", text: code(text.slice(at + length, end)) });
      }
      at = (end ?? at) + length;
    } else if (sign === "*" || sign === "_" || sign === "~") {
      flush();
      const run = delimiter(text, at);
      nodes.push(run);
      at += run.left;
    } else if (sign === "[" || (sign === "!" && text[at + 1] === "[")) {
      flush();
      brackets.push({ node: nodes.length, image: sign === "!", live: true });
      nodes.push(sign === "!" ? "![" : "[");
      at += sign === "!" ? 2 : 1;
    } else if (sign === "]") {
      flush();
      at = close(text, at, nodes, brackets);
    } else if (sign === "\n") {
      const spaces = plain.endsWith("  ");
      plain = plain.trimEnd();
      flush();
      nodes.push(spaces ? { kind: "break" } : "\n");
      at++;
    } else {
      const found = sign === "<" ? match(AUTOLINK, text, at) : sign === "h" || sign === "H" ? bare(text, at) : null;
      const url = found && address(found.url);
      if (url) {
        flush();
        nodes.push({ kind: "link", url, parts: [found.url] });
        at += found.length;
      } else {
        plain += sign;
        at++;
      }
    }
  }
  flush();
  return emphasise(nodes);
}

/** Where rows of backticks begin, and how long they are. */
function rows(text) {
  const found = new Map();
  for (const { index, 0: row } of text.matchAll(/`+/g)) found.set(index, row.length);
  // Of each length, where they stand in order: the one that closes is found without looking at the text again.
  found.places = new Map();
  for (const [index, length] of found) {
    if (!found.places.has(length)) found.places.set(length, Object.assign([], { next: 0 }));
    found.places.get(length).push(index);
  }
  return found;
}

function closing(ticks, at, length) {
  const places = ticks.places.get(length);
  if (!places) return null;
  while (places.next < places.length && places[places.next] <= at) places.next++;
  return places[places.next] ?? null;
}

function code(text) {
  const line = text.replace(/\n/g, " ");
  return line.length > 2 && line.startsWith(" ") && line.endsWith(" ") && line.trim() ? line.slice(1, -1) : line;
}

function match(pattern, text, at) {
  pattern.lastIndex = at;
  const found = pattern.exec(text);
  return found && { url: found[1] ?? found[0], length: found[0].length };
}

/** An address without brackets; a full stop or a bracket after it is the sentence's. */
function bare(text, at) {
  if (at && /[\p{L}\p{N}]/u.test(text[at - 1])) return null;
  const found = match(BARE, text, at);
  if (!found) return null;
  let url = found.url.replace(/(?:[*`]|~~).*$/s, "").replace(/_+$/, "");
  let closed = url.split(")").length - url.split("(").length;
  for (; /[.,:;!?)]$/.test(url); url = url.slice(0, -1)) if (url.endsWith(")") && closed-- <= 0) break;
  return url.length > 10 ? { url, length: url.length } : null;
}

/** A row of stars, underscores or tildes, and whether it can open and close (CommonMark, "flanking"). */
function delimiter(text, at) {
  let end = at;
  while (text[end] === text[at]) end++;
  const before = at ? symbol(text, at - 1) : " ", after = end < text.length ? String.fromCodePoint(text.codePointAt(end)) : " ";
  const [spaceBefore, spaceAfter] = [/\s/.test(before), /\s/.test(after)];
  const [signBefore, signAfter] = [PUNCTUATION.test(before), PUNCTUATION.test(after)];
  const left = !spaceAfter && (!signAfter || spaceBefore || signBefore);
  const right = !spaceBefore && (!signBefore || spaceAfter || signAfter);
  const under = text[at] === "_";
  return {
    kind: "run", sign: text[at], length: end - at, left: end - at,
    opens: under ? left && (!right || signBefore) : left, closes: under ? right && (!left || signAfter) : right,
  };
}

const symbol = (text, at) => (/[\udc00-\udfff]/.test(text[at]) && at ? text.slice(at - 1, at + 1) : text[at]);

/** What a closing bracket ends: a link, an image, or nothing. Where to go on. */
function close(text, at, nodes, brackets) {
  const opened = brackets.pop();
  const target = opened?.live ? destination(text, at + 1) : null;
  if (!target) {
    nodes.push("]");
    return at + 1;
  }
  const inside = emphasise(nodes.splice(opened.node).slice(1));
  const parts = inside.flatMap((part) => (part.kind === "link" ? part.parts : [part]));
  nodes.push({ kind: opened.image ? "image" : "link", url: address(target.url), parts });
  // No link within a link: the brackets around this one are text.
  if (!opened.image) for (const bracket of brackets) if (!bracket.image) bracket.live = false;
  return target.end;
}

/** `(address "title")` at a place, or null. */
function destination(text, at) {
  if (text[at] !== "(") return null;
  const piece = text.slice(at, at + LONGEST);
  const found = /^\(\s*(?:<([^<>\n]*)>|([^\s<][^\s]*)?)/.exec(piece);
  if (!found) return null;
  let url = found[1], end = found[0].length;
  if (url === undefined) {
    // Brackets within the address are part of it as long as they are in pairs.
    let depth = 0;
    const start = end - (found[2] ?? "").length;
    for (end = start; end < piece.length && !/\s/.test(piece[end]); end++) {
      if (piece[end] === "\\") end++;
      else if (piece[end] === "(" && ++depth > DEEPEST) return null;
      else if (piece[end] === ")" && depth-- === 0) break;
    }
    url = piece.slice(start, end);
    if (depth > 0) return null;
  }
  const title = /^(?:\s+(?:"[^"]*"|'[^']*'|\([^()]*\)))?\s*\)/.exec(piece.slice(end));
  return title && { url: url.replace(/\\([!-/:-@[-`{-~])/g, "$1"), end: at + end + title[0].length };
}

const NAMES = { 1: "emphasis", 2: "strong" };

/** Rows of stars become emphasis where they are in pairs (CommonMark, "process emphasis"), and text elsewhere. */
function emphasise(nodes) {
  // Linked both ways, so that what lies between two rows is taken out at once.
  const head = {};
  let tail = head;
  for (const node of nodes) tail = tail.next = { node, before: tail, next: null };
  const bottoms = new Map();
  for (let closer = head.next; closer; ) {
    const run = closer.node;
    if (run.kind !== "run" || !run.closes || !run.left) {
      closer = closer.next;
      continue;
    }
    const key = `${run.sign}${run.opens}${run.length % 3}${run.sign === "~" ? run.length : ""}`;
    const bottom = bottoms.get(key) ?? head;
    let opener = closer.before;
    while (opener !== bottom && opener !== head && !pairs(opener.node, run)) opener = opener.before;
    if (opener === bottom || opener === head) {
      bottoms.set(key, closer.before);
      closer = closer.next;
      continue;
    }
    const count = run.sign === "~" ? run.left : run.left > 1 && opener.node.left > 1 ? 2 : 1;
    const parts = [];
    for (let between = opener.next; between !== closer; between = between.next) parts.push(...texts(between.node));
    const made = { before: opener, next: closer, node: { kind: run.sign === "~" ? "strike" : NAMES[count], parts } };
    opener.next = made;
    closer.before = made;
    run.left -= count;
    opener.node.left -= count;
    if (!run.left) closer = closer.next;
  }
  const parts = [];
  for (let entry = head.next; entry; entry = entry.next) parts.push(...texts(entry.node));
  return parts;
}

function pairs(opener, closer) {
  if (opener.kind !== "run" || opener.sign !== closer.sign || !opener.opens || !opener.left) return false;
  if (closer.sign === "~") return opener.length === 2 && closer.length === 2;
  const odd = (opener.closes || closer.opens) && (opener.length + closer.length) % 3 === 0;
  return !odd || (opener.length % 3 === 0 && closer.length % 3 === 0);
}

const texts = (node) => (node.kind !== "run" ? [node] : node.left ? [node.sign.repeat(node.left)] : []);
