"""The HTML of a Stack Exchange post -> plain text.

Code keeps its lines, indentation and tabs; lists, quotations and tables keep the little structure that plain text has
(`- `, `1. `, `> `, ` | `), paragraphs are separated by a blank line, links leave their words, pictures nothing.
"""

import re
from dataclasses import dataclass
from functools import cache

from lxml import etree

from puna.data.text.scripts import lowered, raised


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_BLOCKS = _names(
    "address article aside blockquote body center dd details div dl dt figcaption figure footer form h1 h2 h3 h4 h5 h6 "
    "header hr html li main ol p pre section summary table tbody tfoot thead tr ul"
)
_SILENT = _names("script style head title iframe object noscript template")
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_INTEGER = re.compile(r"[ \t\n\f\r]*([+-]?[0-9]{1,9})")
_BREAK = "\x1f"
_DEEPEST = 8
"""How deep nested lists and quotations are indented."""


def post_text(body: str) -> str:
    """The text of a post's HTML; empty where it has none."""
    body = _FORBIDDEN.sub("", body)
    if "<" not in body and "&" not in body:
        return body.strip()
    writer, parser = _parser()
    writer.reset()
    try:
        etree.fromstring(body.encode(), parser)
    except (etree.ParserError, etree.XMLSyntaxError):
        writer.close()  # the text before it is kept
    return writer.text()


@cache
def _parser() -> "tuple[_Writer, etree.HTMLParser]":
    """One parser for all posts: making one takes as long as reading a short post."""
    writer = _Writer()
    return writer, etree.HTMLParser(target=writer, encoding="utf-8", huge_tree=True)


@dataclass(slots=True)
class _Scope:
    """An open quotation or item of a list."""

    tag: str
    first: str
    """The prefix of its first line."""
    rest: str
    """The prefix of its other lines."""
    fresh: bool = True
    """Whether none of its lines has been written."""


def _integer(text: str | None, default: int) -> int:
    """A whole number of an attribute (HTML standard, section 2.3.4.1), or the default."""
    found = _INTEGER.match(text or "")
    return int(found[1]) if found else default


class _Writer:
    """The target of the parser: gets tags and text in their order, and collects blocks."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Drop everything and begin a new post."""
        self._blocks: list[str] = []
        self._inline: list[str] = []
        self._scopes: list[_Scope] = []
        self._lists: list[int | None] = []
        """The next number of each open list; None in lists without numbers."""
        self._scripts: list[int] = []
        self._silent = self._code = self._cells = 0
        self._in_row = False
        self._outermost = 0
        self._last: tuple[str, int] = ("", 0)

    def text(self) -> str:
        """Everything written so far."""
        return "".join(self._blocks).strip("\n")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Handle the start tag of an element."""
        if tag in _SILENT:
            self._silent += 1
        elif tag in _BLOCKS:
            self._flush()
            self._open(tag, attributes)
        elif tag == "br":
            self._inline.append(_BREAK)
        elif tag in ("td", "th"):
            self._inline.append(" | " if self._cells else "")
            self._cells += 1
        elif tag in ("sup", "sub"):
            self._scripts.append(len(self._inline))

    def _open(self, tag: str, attributes: dict[str, str]) -> None:
        if tag in ("ul", "ol", "table") and not self._lists:
            self._outermost += 1
        if tag in ("ul", "ol"):
            self._lists.append(_integer(attributes.get("start"), 1) if tag == "ol" else None)
        elif tag == "li":
            mark = "- "
            number = self._lists[-1] if self._lists else None
            if number is not None:
                number = _integer(attributes.get("value"), number)
                self._lists[-1] = number + 1
                mark = f"{number}. "
            self._enter(tag, mark, " " * len(mark))
        elif tag == "blockquote":
            self._enter(tag, "> ", "> ")
        elif tag == "pre":
            self._code += 1
        elif tag == "tr":
            self._in_row, self._cells = True, 0

    def _enter(self, tag: str, first: str, rest: str) -> None:
        deep = len(self._scopes) >= _DEEPEST
        self._scopes.append(_Scope(tag, "" if deep else first, "" if deep else rest))

    def end(self, tag: str) -> None:
        """Handle the end tag of an element."""
        if tag in _SILENT:
            self._silent = max(0, self._silent - 1)
        elif tag in ("sup", "sub"):
            self._script(tag)
        elif tag in _BLOCKS:
            self._flush()
            if tag in ("ul", "ol") and self._lists:
                self._lists.pop()
            elif tag in ("li", "blockquote") and self._scopes and self._scopes[-1].tag == tag:
                self._scopes.pop()
            elif tag == "pre":
                self._code = max(0, self._code - 1)
            elif tag == "tr":
                self._in_row = False

    def _script(self, tag: str) -> None:
        start = self._scripts.pop() if self._scripts else len(self._inline)
        content = "".join(self._inline[start:]).strip()
        before = next((part[-1] for part in reversed(self._inline[:start]) if part), "")
        self._inline[start:] = [(raised if tag == "sup" else lowered)(content, before)]

    def data(self, text: str) -> None:
        """Add the text between two tags."""
        if not self._silent:
            self._inline.append(text)

    def comment(self, text: str) -> None:
        """Skip a comment: it is not text."""

    def close(self) -> None:
        """End the post and write its last block."""
        self._flush()

    def _flush(self) -> None:
        """Write the block that ends here."""
        if not self._inline:
            return
        text = "".join(self._inline)
        self._inline.clear()
        self._scripts.clear()
        if self._code:
            text = text.replace(_BREAK, "\n").replace("\r", "").strip("\n")
            lines = [line.rstrip() for line in text.split("\n")]
        else:
            lines = [line for part in text.split(_BREAK) if (line := " ".join(part.split()))]
        if not any(lines):
            return
        first = "".join(scope.first if scope.fresh else scope.rest for scope in self._scopes)
        rest = "".join(scope.rest for scope in self._scopes)
        begins_item = any(scope.fresh and scope.tag == "li" for scope in self._scopes)
        for scope in self._scopes:
            scope.fresh = False
        kind = "row" if self._in_row else "item" if begins_item else ""
        tight = bool(kind) and not self._code and self._last == (kind, self._outermost)
        self._last = ("" if self._code else kind, self._outermost)
        self._blocks += [
            "\n" if tight else "\n\n",
            "\n".join([first + lines[0], *((rest + line).rstrip() for line in lines[1:])]),
        ]
