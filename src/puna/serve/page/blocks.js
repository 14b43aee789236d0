// Markdown's blocks, after CommonMark 0.31, with tables of GitHub's dialect: text becomes a list of records. HTML is
// text here, and so are definitions of references. Each line is looked at a bounded number of times.

const DEEPEST = 12;
const FENCE = /^ {0,3}(`{3,}|~{3,})[ \t]*([^\n]*)$/;
const MARKER = /^( {0,3})([-*+]|\d{1,9}[.)])(?=[ \t]|$)/;
const HEADING = /^ {0,3}(#{1,6})(?=[ \t]|$)/;

const blank = (line) => !/\S/.test(line);
const indent = (line) => line.length - line.trimStart().length;

/** Tabs at a line's beginning as spaces, since columns decide what belongs to what. */
function untab(line) {
  let made = "";
  for (let at = 0; at < line.length; at++) {
    if (line[at] === "\t") made += " ".repeat(4 - (made.length % 4));
    else if (line[at] === " ") made += " ";
    else return made + line.slice(at);
  }
  return made;
}

function isRule(line) {
  if (indent(line) > 3) return false;
  const signs = line.replace(/[ \t]/g, "");
  return signs.length >= 3 && "-*_".includes(signs[0]) && signs === signs[0].repeat(signs.length);
}

function fence(line) {
  const found = FENCE.exec(line);
  return found && !(found[1][0] === "`" && found[2].includes("`")) ? found : null;
}

/** Whether a line ends a paragraph by beginning something else. */
function interrupts(line) {
  if (fence(line) || HEADING.test(line) || isRule(line) || /^ {0,3}>/.test(line)) return true;
  const marker = MARKER.exec(line);
  // A list within a paragraph begins with 1 and has text, so that "in\n1914. It was" stays one sentence.
  return Boolean(marker) && !blank(line.slice(marker[0].length)) && (/^[-*+]/.test(marker[2]) || parseInt(marker[2], 10) === 1);
}

/** The cells of a table's row; a bar after a backslash is text. */
function cells(line) {
  const row = [""];
  const text = line.trim().replace(/^\|/, "");
  for (let at = 0; at < text.length; at++) {
    if (text[at] === "\\" && text[at + 1] === "|") row[row.length - 1] += text[++at];
    else if (text[at] === "|") row.push("");
    else row[row.length - 1] += text[at];
  }
  if (row.length > 1 && blank(row[row.length - 1])) row.pop();
  return row.map((cell) => cell.trim());
}

const DELIMITER = /^:?-+:?$/;

function columns(head, under) {
  if (!head.includes("|") || under === undefined || !under.includes("-") || indent(under) > 3) return null;
  if (!/^[ \t|:-]+$/.test(under) || (!under.includes("|") && !under.includes(":"))) return null;
  const marks = cells(under);
  if (!marks.every((mark) => DELIMITER.test(mark)) || marks.length !== cells(head).length) return null;
  return marks.map((mark) => (mark.endsWith(":") ? (mark.startsWith(":") ? "center" : "right") : "left"));
}

/** The blocks of a text: {kind, lines: [first, end), ...}, where `lines` tell which of the text it is. */
export const blocks = (text) => parse(text.replace(/\r\n?/g, "\n").replace(/\0/g, "\ufffd").split("\n").map(untab), 0);

function parse(lines, depth) {
  const found = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    if (blank(line)) {
      at++;
      continue;
    }
    const begin = at;
    const [block, next] = one(lines, at, depth);
    at = next;
    found.push({ ...block, lines: [begin, at] });
  }
  return found;
}

/** The block that begins at a line, and the line after it. */
function one(lines, at, depth) {
  const line = lines[at];
  if (indent(line) > 3) return indented(lines, at);
  const opened = fence(line);
  if (opened) return fenced(lines, at, opened);
  const heading = HEADING.exec(line);
  if (heading) return [{ kind: "heading", level: heading[1].length, text: unclosed(line.slice(heading[0].length)) }, at + 1];
  if (isRule(line)) return [{ kind: "rule" }, at + 1];
  if (depth < DEEPEST) {
    if (/^ {0,3}>/.test(line)) return quote(lines, at, depth);
    if (MARKER.test(line)) return list(lines, at, depth);
  }
  const aligned = columns(line, lines[at + 1]);
  return aligned ? table(lines, at, aligned) : paragraph(lines, at);
}

/** A heading's text without the signs that may close it. */
function unclosed(text) {
  const trimmed = text.trim();
  let end = trimmed.length;
  while (end && trimmed[end - 1] === "#") end--;
  return end === 0 || /[ \t]/.test(trimmed[end - 1]) ? trimmed.slice(0, end).trim() : trimmed;
}

function indented(lines, at) {
  const text = [];
  while (at < lines.length && (blank(lines[at]) || indent(lines[at]) > 3)) text.push(lines[at++].slice(4));
  while (blank(text[text.length - 1])) text.pop();
  return [{ kind: "code", language: "", text: text.join("\n") }, at];
}

function fenced(lines, at, [opened, marks, info]) {
  const text = [], column = indent(opened);
  let closed = false;
  for (at++; at < lines.length && !closed; at++) {
    const bare = lines[at].trim();
    closed = indent(lines[at]) < 4 && bare.length >= marks.length && bare === marks[0].repeat(bare.length);
    if (!closed) text.push(lines[at].slice(Math.min(column, indent(lines[at]))));
  }
  return [{ kind: "code", language: info.trim().split(/\s/, 1)[0], text: text.join("\n"), open: !closed }, at];
}

/** Follows the lines of a quote or an item: whether a line without a mark goes on with their last paragraph. */
class Lazy {
  #fence = null;
  #paragraph = false;

  push(line) {
    let text = line;
    // The marks of what is nested; each is taken away once.
    for (let mark; (mark = /^ {0,3}(?:>|[-*+](?=[ \t])|\d{1,9}[.)](?=[ \t])) ?/.exec(text)); ) text = text.slice(mark[0].length);
    const marks = fence(text);
    if (this.#fence) {
      if (marks && marks[1].startsWith(this.#fence) && !marks[2]) this.#fence = null;
      this.#paragraph = false;
    } else {
      this.#fence = marks && marks[1];
      this.#paragraph = !blank(text) && !marks && !HEADING.test(text) && !isRule(text) && (this.#paragraph || indent(text) < 4);
    }
  }

  get goesOn() {
    return this.#paragraph;
  }
}

function quote(lines, at, depth) {
  const text = [], lazy = new Lazy();
  for (; at < lines.length; at++) {
    const marked = /^ {0,3}> ?/.exec(lines[at]);
    if (!marked && (blank(lines[at]) || interrupts(lines[at]) || !lazy.goesOn)) break;
    text.push(marked ? untab(lines[at].slice(marked[0].length)) : lines[at].trimStart());
    lazy.push(text.at(-1));
  }
  return [{ kind: "quote", blocks: parse(text, depth + 1) }, at];
}

function list(lines, at, depth) {
  const first = MARKER.exec(lines[at])[2], sign = first.at(-1), ordered = !/^[-*+]$/.test(first);
  const items = [];
  let loose = false, gap = false;
  while (at < lines.length) {
    const marker = MARKER.exec(lines[at]);
    if (!marker || isRule(lines[at]) || marker[2].at(-1) !== sign || ordered === /^[-*+]$/.test(marker[2])) break;
    if (gap && items.length) loose = true;
    const [text, next, ended] = item(lines, at, marker);
    const inside = parse(text, depth + 1);
    loose ||= inside.some((block, index) => index && blank(text[block.lines[0] - 1]));
    items.push({ blocks: inside });
    gap = ended;
    at = next;
  }
  return [{ kind: "list", ordered, start: ordered ? parseInt(first, 10) : null, loose, items }, at];
}

/** An item's lines without their margin, the line after it, and whether blank lines come between. */
function item(lines, at, marker) {
  const rest = lines[at].slice(marker[0].length);
  const spaces = blank(rest) || indent(rest) > 4 ? 1 : indent(rest);
  const margin = marker[0].length + spaces;
  const text = [blank(rest) ? "" : rest.slice(spaces)], lazy = new Lazy();
  lazy.push(text[0]);
  let blanks = 0;
  for (at++; at < lines.length; at++) {
    const line = lines[at], inside = !blank(line) && indent(line) >= margin;
    if (blank(line)) {
      // An item that begins with a blank line has no second one.
      if (text.length === 1 && blank(text[0])) {
        while (at < lines.length && blank(lines[at])) at++;
        return [text, at, true];
      }
      blanks++;
      text.push("");
    } else {
      if (!inside && (blanks || MARKER.test(line) || interrupts(line) || !lazy.goesOn)) break;
      text.push(inside ? line.slice(margin) : line.trimStart());
      blanks = 0;
    }
    lazy.push(text.at(-1));
  }
  while (blanks && text.length > 1 && blank(text[text.length - 1])) text.pop();
  return [text, at, blanks > 0];
}

function table(lines, at, aligned) {
  const head = cells(lines[at]), rows = [];
  for (at += 2; at < lines.length && !blank(lines[at]) && !interrupts(lines[at]) && indent(lines[at]) < 4; at++) {
    const row = cells(lines[at]).slice(0, aligned.length);
    rows.push([...row, ...Array(aligned.length - row.length).fill("")]);
  }
  return [{ kind: "table", aligned, head, rows }, at];
}

function paragraph(lines, at) {
  const text = [lines[at++].trimStart()];
  for (; at < lines.length && !blank(lines[at]); at++) {
    const under = indent(lines[at]) < 4 ? lines[at].trim() : "";
    if (under && (under === "=".repeat(under.length) || under === "-".repeat(under.length)))
      return [{ kind: "heading", level: under[0] === "=" ? 1 : 2, text: text.join("\n").trimEnd() }, at + 1];
    if (indent(lines[at]) < 4 && (interrupts(lines[at]) || columns(lines[at], lines[at + 1]))) break;
    text.push(lines[at].trimStart());
  }
  return [{ kind: "paragraph", text: text.join("\n").trimEnd() }, at];
}
