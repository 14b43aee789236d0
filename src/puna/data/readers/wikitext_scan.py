"""Removes from wikitext, in a few passes, the parts that have no text or must not be read as markup.

Comments, references, tables, pictures and the templates without text are most of a page. A stack is enough to find
their ends, in time linear in any page; so the parser gets short, well-nested markup.
"""

import html
import re
from collections.abc import Callable

from puna.data.readers.wikitext_names import LANGUAGES
from puna.data.readers.wikitext_templates import BREAK, END, HOLE, LESS, STASHED, expansion
from puna.data.text.scripts import lowered, raised

_SILENT = [
    "ref", "gallery", "imagemap", "timeline", "score", "graph", "mapframe", "maplink", "templatedata", "inputbox",
    "categorytree", "references", "hiero", "indicator", "templatestyles", "phonos",
]  # fmt: skip
_VERBATIM = ["nowiki", "pre", "source", "syntaxhighlight", "math", "chem", "ce", "poem"]
_LIFTED = re.compile(rf"<!--|<({'|'.join(_SILENT + _VERBATIM)})(?=[\s/>])([^<>]*)>", re.IGNORECASE)
_CLOSING = {name: re.compile(rf"</{name}\s*>", re.IGNORECASE) for name in _SILENT + _VERBATIM} | {"": re.compile("-->")}
_MARKS = re.compile(r"\{\{+|\}\}+|\[\[|\]\]")
_TABLE = re.compile(rf"^[{HOLE} \t:*#]*\{{\||^[{HOLE} \t]*\|\}}(?!\}}(?!\}}))", re.MULTILINE)
_HTML_TABLE = re.compile(r"<(/?)table\b[^<>]*>", re.IGNORECASE)
_SCRIPT = re.compile(r"<(su[bp])\b[^<>]*>([^<>]*)</\1\s*>", re.IGNORECASE)
_UNSEEN = re.compile(
    r"<(span|div|small)\b[^<>]{0,200}display\s{0,3}:\s{0,3}none[^<>]{0,200}>[^<>]*</\1\s*>", re.IGNORECASE
)
_TAG = re.compile(
    r"<(/?)(abbr|b|bdi|bdo|big|blockquote|br|caption|center|cite|code|data|dd|del|dfn|div|dl|dt|em|font|h[1-6]|hr|i|img|"
    r"includeonly|ins|kbd|li|link|mark|meta|noinclude|ol|onlyinclude|p|q|rb|rp|rt|rtc|ruby|s|samp|section|small|span|"
    r"strike|strong|sub|sup|table|tbody|td|th|thead|time|tr|tt|u|ul|var|wbr|"
    + "|".join(_SILENT + _VERBATIM)
    + r")\b([^<>]*)>",
    re.IGNORECASE,
)  # fmt: skip
_LINES = {
    "blockquote", "caption", "center", "dd", "div", "dl", "dt", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "ol", "p",
    "table", "tbody", "thead", "tr", "ul",
}  # fmt: skip
_NO_CHARACTER = re.compile(r"&#(?:[0-9]{8,}|[xX][0-9a-fA-F]{8,});?")
_VARIANT = re.compile(r"-\{([^{}]*)\}-")
_SWITCH = re.compile(r"__[^\W\d_]+(?:_[^\W\d_]+)*__")


def unescaped(text: str) -> str:
    """The text with characters for its entities; references to numbers without a character are removed."""
    return html.unescape(_NO_CHARACTER.sub("", text))


def lift(text: str) -> tuple[str, list[str]]:
    """The text without comments and references, and the pieces of it that are not wikitext: code, formulas.

    Each piece is replaced by its number between `STASHED` and `END`.
    """
    parts: list[str] = []
    pieces: list[str] = []
    unclosed: set[str] = set()
    position = 0
    while match := _LIFTED.search(text, position):
        parts.append(text[position : match.start()])
        position = match.end()
        name = (match[1] or "").lower()
        if name and match[2].endswith("/"):
            parts.append(HOLE if name in _SILENT else "")
            continue
        end = None if name in unclosed else _CLOSING[name].search(text, position)
        if end is None:
            unclosed.add(name)
            position = position if name else len(text)
            continue
        parts.append(_place(name, match[2], text[position : end.start()], pieces))
        position = end.end()
    parts.append(text[position:])
    return "".join(parts), pieces


def _place(name: str, attributes: str, content: str, pieces: list[str]) -> str:
    """The text that replaces a lifted element."""
    if not name:
        return ""
    if name in _SILENT:
        return HOLE
    if name == "poem":
        return "\n\n" + content.strip("\n").replace("\n", BREAK) + "\n\n"
    if name in ("math", "chem", "ce"):
        formula = " ".join(unescaped(content).split())
        content = (f"${formula}$" if name == "math" else formula) if formula else ""
    if name in ("nowiki", "pre"):
        content = unescaped(content)
    if not content.strip():
        return content
    pieces.append(content.strip("\n"))
    place = f"{STASHED}{len(pieces) - 1}{END}"
    code = name in ("source", "syntaxhighlight") and "\n" in content.strip() and "inline" not in attributes
    block = code or name == "pre"
    return f"\n\n{place}\n\n" if block else place


def without(text: str, removed: list[tuple[int, int, str]]) -> str:
    """The text with some spans replaced; of nested ones the outermost counts."""
    parts, position = [], 0
    for start, end, instead in sorted(removed, key=lambda span: (span[0], -span[1])):
        if start >= position:
            parts += [text[position:start], instead]
            position = end
    return "".join([*parts, text[position:]]) if parts else text


def drop_silent(text: str, language: str, hidden: frozenset[str]) -> str:
    """The text without templates and links that show no words, and without unmatched braces and brackets.

    Args:
        text: Wikitext.
        language: The language of the Wikipedia, which decides the templates with text.
        hidden: Namespaces, in lower case, whose links show a picture or nothing.
    """
    removed: list[tuple[int, int, str]] = []
    stack: list[tuple[str, int, int]] = []
    opened = {"{": 0, "[": 0}
    for match in _MARKS.finditer(text):
        mark, start, end = match[0], match.start(), match.end()
        if mark[0] in opened:
            for _ in range(len(mark) // 2):
                stack.append((mark[0], start, end))
                opened[mark[0]] += 1
                start = min(start + 2 + len(mark) % 2, end)
            continue
        kind = "{" if mark[0] == "}" else "["
        closing = len(mark) // 2
        while closing and opened[kind]:
            other, begin, inner = stack.pop()
            opened[other] -= 1
            if other != kind:
                removed.append((begin, min(begin + 2, inner), ""))
                continue
            closing -= 1
            stop = end - 2 * closing if closing else end
            if kind == "[":
                silent = _silent_link(text[begin + 2 : begin + 42], hidden)
            else:
                silent = expansion(_name(text, begin + 2, stop), language) is None
            if silent:
                removed.append((begin, stop, HOLE))
        if closing:
            removed.append((end - 2 * closing, end, ""))
    removed += [(begin, min(begin + 2, inner), "") for _, begin, inner in stack]
    return without(text, removed)


def _name(text: str, start: int, end: int) -> str:
    """The name of the template whose content begins at `start`."""
    return re.split(r"[|}{]", text[start : min(end, start + 80)], maxsplit=1)[0].strip().strip(HOLE)


def _silent_link(target: str, hidden: frozenset[str]) -> bool:
    prefix, colon, _ = target.partition(":")
    prefix = prefix.strip().replace("_", " ").lower()
    return bool(colon and (prefix in hidden or prefix in LANGUAGES))


def drop_tables(text: str) -> str:
    """The text without tables, in wikitext or in HTML."""
    text = _without_nested(text, _TABLE, lambda match: "{" in match[0])
    return _without_nested(text, _HTML_TABLE, lambda match: not match[1])


def _without_nested(text: str, marks: re.Pattern[str], opens: Callable[[re.Match[str]], bool]) -> str:
    """The text without the parts between matching marks."""
    removed: list[tuple[int, int, str]] = []
    starts: list[int] = []
    for match in marks.finditer(text):
        if opens(match):
            starts.append(match.start())
        elif starts:
            removed.append((starts.pop(), match.end(), HOLE))
    return without(text, removed)


def drop_tags(text: str) -> str:
    """The text without HTML tags; a `<` that begins no tag is marked as `LESS`."""
    text = _UNSEEN.sub(HOLE, text)
    text = _SCRIPT.sub(_script, text)
    return _TAG.sub(_tag, text).replace("<", LESS)


def _script(match: re.Match[str]) -> str:
    before = match.string[match.start() - 1] if match.start() else ""
    content = match[2].replace("''", "").strip()
    if "[" in content or "{" in content:
        return content
    return (raised if match[1].lower() == "sup" else lowered)(unescaped(content), before)


def _tag(match: re.Match[str]) -> str:
    name = match[2].lower()
    if name == "br":
        return BREAK
    if name == "li":
        return "" if match[1] else "\n* "
    if name in ("td", "th"):
        return " "
    if name == "q":
        return '"'
    return "\n" if name in _LINES else ""


def drop_switches(text: str) -> str:
    """The text without magic words such as `__NOTOC__`, and of `-{one way of writing}-` that."""
    text = _SWITCH.sub(lambda match: "" if match[0].isupper() else match[0], text)
    return _VARIANT.sub(_variant, text)


def _variant(match: re.Match[str]) -> str:
    first = match[1].partition("|")[2] if "|" in match[1] else match[1]
    first = first.partition(";")[0] if ":" in first.partition(";")[0] else first
    return first.rpartition(":")[2].strip() if re.match(r"\s*[a-z]{2}(-[a-z]+)?\s*:", first) else first
