"""The main text of an HTML page, without navigation, forms, scripts and other furniture.

Resiliparse finds it by rules on tags, classes and the share of links (Bevendorff et al. 2023,
doi:10.1145/3539618.3591920; DCLM, Li et al. 2024, prefers it for training data). The page is changed first to avoid
errors of its version 2.0:

- It drops every piece of text between two tags that is three UTF-8 bytes and ends in a character beyond ASCII, because
  it takes it for an icon: a dash, a curly quote, a Chinese character, `né`, `où`.
- It drops lists as navigation where they lie less than four levels deep or have more than a fifth of their text in
  links; here a list stays if at least half of its text is in no link.
- After an item that is in no list, or in a `menu`, everything is an item.
- It writes raised and lowered figures on the line, so that 10⁶ becomes 106.

What needs the tree of the page is in `puna.data.text.html_tree`, formulas are in `puna.data.text.html_math`.
"""

import re
from collections import Counter
from collections.abc import Iterator

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from puna.data.text.html_tree import GUARD, mend_tree, with_marks
from puna.data.text.scripts import lowered, raised

_LONE = re.compile(
    r">(\s*(?!&(?:para|#182|#[xX][bB]6);)(?:[\u0800-\ud7ff\uf900-\uffff]"
    r"|[!-%'-;=?-~][\u0080-\u07ff]|[!-%'-;=?-~]?&#?[0-9A-Za-z]{2,8};)\s*)<"
)
"""Text of three bytes between two tags, or what may be such; a pilcrow alone is the mark of a link to a heading."""
_EMPTY_ITEM = re.compile(rf"•{GUARD}[ \t]*(?:\n\n?|\Z)")
"""Bullets of empty items, or of items that begin with a paragraph, where the bullet would be alone on its line."""
_LIST_TAGS = re.compile(
    r"<(?:(/?)([uU][lL]|[oO][lL]|[lL][iI]|[mM][eE][nN][uU]|[dD][iI][rR])\b[^<>]*>"
    r"|!--|(?:[sS][cC][rR][iI][pP][tT]|[sS][tT][yY][lL][eE])\b)"
)
"""Tags of lists, and the beginnings of parts without text; a flag for case would take three times as long."""
_RAW_END = re.compile(r"</(?:[sS][cC][rR][iI][pP][tT]|[sS][tT][yY][lL][eE])")
_TAGS = re.compile(r"(<[^<>]*>)")
_LINK = re.compile(r"<(/?)a\b", re.I)
_LINK_SHARE = 0.5
_SCRIPT = re.compile(r"<[sS][uU]([bBpP])\b[^<>]*>([A-Za-z0-9+\-\u2212\u2013]{1,8})</[sS][uU][bBpP]\s*>")
"""A raised or lowered number or word."""


def main_text(html: str) -> str:
    """The main text, with lists and paragraphs on their own lines and with plain blanks; empty if there is none.

    Parsing takes long and much memory on some pages: see `puna.data.text.html_cost`.

    Raises:
        ValueError: The page cannot be parsed.
    """
    page = _LONE.sub(rf">\1{GUARD}<", _SCRIPT.sub(_script, "".join(_mended(html))))
    tree = HTMLTree.parse(page)
    taken = mend_tree(tree, page)
    text = extract_plain_text(tree, main_content=True, alt_texts=False, preserve_formatting=True)
    text = _EMPTY_ITEM.sub("", text).replace(GUARD, "")
    return with_marks(text, taken).replace("\xa0", " ")


def _script(match: re.Match[str]) -> str:
    before = match.string[match.start() - 1 : match.start()]
    if not before or before == "<" or before.isspace():
        return match[0]
    return (raised if match[1] in "pP" else lowered)(match[2], before)


def _mended(html: str) -> Iterator[str]:
    """The page in pieces, with definition lists for lists of text, and definitions for items outside of lists."""
    done = 0
    lists: list[str] = []
    counts = Counter[str]()
    outermost: list[tuple[re.Match[str], bool]] = []
    """The tags of the outermost list so far, and whether each is replaced by one of a definition list."""
    for tag in _list_tags(html):
        name = tag[2].lower()
        if name == "li":
            if lists:
                outermost.append((tag, lists[-1] != "ol"))
            else:
                yield html[done : tag.start()] + _definition(tag)
                done = tag.end()
        elif not tag[1]:
            lists.append(name)
            counts[name] += 1
            outermost.append((tag, name != "ol"))
        elif counts[name]:
            while (closed := lists.pop()) != name:
                counts[closed] -= 1
            counts[name] -= 1
            outermost.append((tag, name != "ol"))
            if not lists:
                if any(renamed for _, renamed in outermost) and _is_text(html[outermost[0][0].start() : tag.end()]):
                    for inner, renamed in outermost:
                        yield html[done : inner.start()] + (_definition(inner) if renamed else inner[0])
                        done = inner.end()
                outermost = []
    yield html[done:]


def _list_tags(html: str) -> Iterator[re.Match[str]]:
    """The tags of lists, except those in comments, scripts and styles."""
    at = 0
    while tag := _LIST_TAGS.search(html, at):
        at = tag.end()
        if tag[2]:
            yield tag
        elif tag[0] == "<!--":
            at = html.find("-->", at)
        else:
            end = _RAW_END.search(html, at)
            at = end.end() if end else -1
        if at < 0:
            return


def _definition(tag: re.Match[str]) -> str:
    """A tag of a list as one of a definition list, which is parsed the same way; an item begins with a bullet."""
    name = "dd" if tag[2].lower() == "li" else "dl"
    rest = tag[0][len(tag[1]) + len(tag[2]) + 1 :]
    return f"<{tag[1]}{name}{rest}" + (f"•{GUARD} " if name == "dd" and not tag[1] else "")


def _is_text(span: str) -> bool:
    """Whether at least half of the text between these tags is outside of links."""
    text = links = 0
    inside = False
    for number, piece in enumerate(_TAGS.split(span)):
        if number % 2 == 0:
            size = len(piece.strip())
            text += size
            links += size * inside
        elif link := _LINK.match(piece):
            inside = not link[1]
    return text > 0 and links <= _LINK_SHARE * text
