"""Removes from wikitext, in a few passes, the parts that have no text or must not be read as markup.

Comments, references, tables, pictures and the templates without text are most of a page. A stack is enough to find
their ends, in time linear in any page; so the parser gets short, well-nested markup.
"""

import html
import re
from collections.abc import Callable

from puna.data.readers.wikitext_marks import BREAK, BULLET, END, HOLE, INDENT, LESS, ROW, STASHED
from puna.data.readers.wikitext_names import LANGUAGES
from puna.data.readers.wikitext_switches import CONVERTED, INSENSITIVE_SWITCHES, SWITCHES
from puna.data.readers.wikitext_templates import expansion
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
_NAME = re.compile(r"[^|}{]*")
_ROWS = re.compile(rf"^[{HOLE} \t:*#]*(?:\{{\||[|!])", re.MULTILINE)
_TITLE = re.compile(r"^=", re.MULTILINE)
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
_NEAR = 40
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
            first = name == "nowiki" and text[match.start() - 1 : match.start()] in ("", "\n")
            parts.append(HOLE if name in _SILENT or first else "")  # <nowiki/>* begins no list
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
            if kind == "{":
                found = expansion(_name(text, begin + 2, stop), language)
                if isinstance(found, str):
                    removed.append((begin, stop, found))
            elif text.find(":", begin + 2, begin + 42) >= 0 and _silent_link(text[begin + 2 : begin + 42], hidden):
                removed.append((begin, stop, HOLE))
        if closing:
            removed.append((end - 2 * closing, end, ""))
    removed += [(begin, min(begin + 2, inner), "") for _, begin, inner in stack]
    removed += [(place, place, ROW) for place in _rows(text, [begin for kind, begin, _ in stack if kind == "{"])]
    return without(text, removed)


def _rows(text: str, starts: list[int]) -> list[int]:
    """The lines with arguments of templates without an end: those with a bar, directly below such a template."""
    places, done = [], 0
    for start in starts:
        line = text.find("\n", max(start, done)) + 1
        while line and text.startswith(("|", " |", "  |"), line):
            places.append(line)
            done = line
            line = text.find("\n", line) + 1
    return places


def _name(text: str, start: int, end: int) -> str:
    """The name of the template whose content begins at `start`."""
    name = _NAME.match(text, start, min(end, start + 80))
    return name[0].strip().strip(HOLE) if name else ""


def _silent_link(target: str, hidden: frozenset[str]) -> bool:
    prefix, colon, _ = target.partition(":")
    prefix = prefix.strip().replace("_", " ").lower()
    return bool(colon and (prefix in hidden or prefix in LANGUAGES))


def drop_tables(text: str) -> str:
    """The text without tables, in wikitext or in HTML; lines of a table without an end are marked as `ROW`."""
    text = _without_nested(text, _TABLE, lambda match: "{" in match[0], _marked_rows)
    return _without_nested(text, _HTML_TABLE, lambda match: not match[1])


def _marked_rows(text: str, start: int, end: int) -> list[tuple[int, int, str]]:
    """Marks for the rows of a table without an end, up to the next title."""
    title = _TITLE.search(text, start, end)
    return [(row.start(), row.start(), ROW) for row in _ROWS.finditer(text, start, title.start() if title else end)]


def _without_nested(
    text: str,
    marks: re.Pattern[str],
    opens: Callable[[re.Match[str]], bool],
    unmatched: Callable[[str, int, int], list[tuple[int, int, str]]] | None = None,
) -> str:
    """The text without the parts between matching marks; `unmatched` says what to do from an unmatched one on."""
    removed: list[tuple[int, int, str]] = []
    starts: list[int] = []
    for match in marks.finditer(text):
        if opens(match):
            starts.append(match.start())
        elif starts:
            removed.append((starts.pop(), match.end(), HOLE))
        elif unmatched:
            removed.append((match.start(), match.start(), ROW))
    if unmatched and starts:
        for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
            removed += unmatched(text, start, end)
    return without(text, removed)


def drop_tags(text: str) -> str:
    """The text without HTML tags; a `<` that begins no tag is marked as `LESS`."""
    text = _UNSEEN.sub(HOLE, text)
    text = _SCRIPT.sub(_script, text)
    return _TAG.sub(_Lists().tag if "<li" in text.lower() else _tag, text).replace("<", LESS)


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
    if name in ("td", "th"):
        return " "
    if name == "q":
        return '"'
    return "\n" if name in _LINES else ""


class _Lists:
    """HTML's lists, with the numbers that a page shows: `start`, `value` and `reversed` lists too."""

    def __init__(self) -> None:
        self._open: list[int | None] = []

    def tag(self, match: re.Match[str]) -> str:
        """What stands for a tag."""
        name, closing = match[2].lower(), bool(match[1])
        if name in ("ol", "ul"):
            if closing:
                del self._open[-1:]
            else:
                self._open.append(_stated("start", match[3], 1) - 1 if name == "ol" else None)
        elif name == "li":
            return "" if closing else self._item(match[3])
        return _tag(match)

    def _item(self, attributes: str) -> str:
        depth = min(max(0, len(self._open) - 1), 30)
        number = self._open[-1] if self._open else None
        if number is None:
            return f"\n{BULLET * depth}{BULLET} "
        self._open[-1] = number = _stated("value", attributes, number + 1)
        return f"\n{BULLET * depth}{INDENT}{number}. "


def _stated(name: str, attributes: str, default: int) -> int:
    match = re.search(rf"\b{name}\s*=\s*[\"']?\s*(-?[0-9]{{1,9}})\b", attributes, re.IGNORECASE)
    return int(match[1]) if match else default


def drop_switches(text: str, language: str) -> str:
    """The text without magic words such as `__NOTOC__`, and of `-{one way of writing}-` that.

    Args:
        text: Wikitext.
        language: That of the Wikipedia, which decides whether it has several ways of writing.
    """
    text = _SWITCH.sub(_switch, text)
    return _VARIANT.sub(_variant, text) if language in CONVERTED else text


def _switch(match: re.Match[str]) -> str:
    """Nothing for a switch that MediaWiki knows, or for capitals alone in their line, which is not text."""
    word = match[0]
    if word in SWITCHES or word.upper() in INSENSITIVE_SWITCHES:
        return ""
    start, end = match.span()
    before = ("" if start > _NEAR else "\n") + match.string[max(0, start - _NEAR) : start]
    after = match.string[end : end + _NEAR] + ("" if end + _NEAR < len(match.string) else "\n")
    alone = "\n" in before and "\n" in after and word.isupper()
    return "" if alone and not (before.rpartition("\n")[2] + after.partition("\n")[0]).strip() else word


def _variant(match: re.Match[str]) -> str:
    """The text of `-{…}-` as pages first show it: that of the first variant, and nothing for a rule or a title."""
    flags, bar, content = match[1].partition("|")
    if bar and {"H", "T"} & set(re.split(r"[;\s]+", flags.strip())):
        return ""
    content = content if bar else match[1]
    variants = re.findall(r"(?:^|;)\s*(?:[a-z]{2,3}(?:-[a-z]+)?)\s*:([^;]*)", content)
    return variants[0].strip() if variants else content
