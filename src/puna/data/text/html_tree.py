"""Changes to the tree of a page, so that elements which hold text are taken for text.

Resiliparse 2.0 drops some elements whatever is in them, because they often hold pictures, bars and stamps:

- `figure` and `figcaption`, in which tools for blogs put code, tables and quotations,
- `aside`, which is a side bar, or a note in the middle of the text,
- `time`, also in the middle of a sentence; likewise what `itemprop` calls an author, a date or an address,
- `label`, also of the items of a list of tasks, and `button`, also where a sentence says which one to press,
- elements with the roles `alert`, which notes have, and `presentation`, which tables for layout have.

It numbers every ordered list from 1, joins a summary with what follows, takes the numbers beside lines of code for a
cell of text, and indents only the first line of code in an item.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from resiliparse.parse.html import HTMLTree

from puna.data.text.html_math import has_formulas, mend_formulas

GUARD = "\ufdd0"
"""A code point that is not a character, so no text has it; it makes a short text longer, and is removed in the end."""
_NUMBER, _CODE = "\ufdd1", "\ufdd2"
"""Two more; they mark the number of an item, and where code was."""
_NUMBERED = re.compile(rf"(?:[0-9]+\. )?{_NUMBER}([^{_NUMBER}\n]{{1,20}}){_NUMBER}\s*")
_CODE_AT = re.compile(rf"{_CODE}([0-9]+){_CODE}")


def _set(names: str) -> frozenset[str]:
    return frozenset(names.split())


_FLOW = _set("p pre ul ol dl blockquote table h2 h3 h4 h5 h6 figure")
"""Elements of running text: what stands beside one of these belongs to the text."""
_INLINE = _set("a abbr b bdi bdo cite code data del dfn em i ins kbd mark q s samp small span strong u var")
_HOLDS_WORDS = _set("p li td th dd dt blockquote figcaption caption h1 h2 h3 h4 h5 h6 b i em strong q")
_FURNITURE = re.compile(
    r"(?:^|[\s_-])(?:side-?bar|side|widgets?|related|recommend\w*|popular|trending|nav\w*|menu|toc|ads?|advert\w*|promo\w*"
    r"|sponsor\w*|newsletter|subscri\w*|social|share\w*|author\w*|comments?|banner|cookies?|teasers?|more|archives?|tags?"
    r"|category|categories|complementary|secondary)(?:$|[\s_-])",
    re.I,
)
_CALLOUT = re.compile(
    r"(?:^|[\s_-])(?:note|tip|warning|caution|danger|important|info|hint|callout|admonition|footnotes?|definition|example"
    r"|topic|remark|pull-?quote|endnotes)(?:$|[\s_-])",
    re.I,
)
_ARTICLE = re.compile(r"(?:^|\s)(?:article|post|entry|main)[_-]?(?:body|content|text)(?:$|\s)", re.I)
_LINK_SHARE = 0.5
"""Largest share of the text of an aside that is in links; the same bound as for lists."""
_MOST_ASIDES = 200
"""More of them are not looked at: each takes time in proportion to its text, and they may be nested."""
_GUTTER = re.compile(
    r"(?:^|[\s_-])(?:gutter|line-?nos?|linenodiv|linenr|line[_-]?num(?:ber)?s?|ln|lnt|nums?)(?:$|[\s_-])", re.I
)
_CODE_CLASS = re.compile(
    r"code|highlight|syntax|source|crayon|listing|prettyprint|fragment|lang(?:uage)?-|(?:^|\s)pre(?:$|\s)", re.I
)
_DIGITS = re.compile(r"[\s0-9.:|\u200b]+")
_NAMES = re.compile(r"<([a-zA-Z][a-zA-Z0-9-]*)")
_RENAMED = _set("figure figcaption summary legend")
"""What becomes a `div`, in which the extractor looks and which is a block of its own."""
_KEPT = ("hidden", "aria-hidden", "style", "id")
_CODE_BLOCKS = _set("div li p tr")
_NOT_IN_CODE = "p, h1, h2, h3, ul, table, form, nav, header, footer, section, article, pre"
"""What stands in a `pre` that was never closed, and around the text of an old page."""
_NO_CODE = _set("script style button select noscript template textarea")
_CLIMBED = 12
_DEEPEST = 60
"""How many elements around a note are looked at for an article."""
_NUMBER_TEXT = re.compile(r"[ \t\n\f\r]*([+-]?[0-9]{1,9})")
_ROMAN = ((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
          (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))  # fmt: skip


@dataclass(slots=True)
class Taken:
    """What was taken out of a page, for `with_marks`."""

    code: list[str] = field(default_factory=list)
    """Pieces of code, each at the place that its mark names."""
    cells: bool = False
    """Whether each tab that begins a line of the extracted text is one that the extractor put before a cell."""


def mend_tree(tree: HTMLTree, page: str) -> Taken:
    """Change the tree of a page; the code that was taken out of it.

    Args:
        tree: The page's tree.
        page: Its source, in which is looked up what may need a change.
    """
    body: Any = tree.body
    taken = Taken()
    if body is None:
        return taken
    names = {name.lower() for name in _NAMES.findall(page)}
    if names & {"pre", "code"}:
        _drop_gutters(body, names)
    if has_formulas(names, page):
        mend_formulas(tree)
    if "aside" in names:
        for node in body.query_selector_all("aside")[:_MOST_ASIDES]:
            if _belongs(node) and not _is_links(node):
                _rename(tree, node, "div")
    if "role=" in page:
        for node in body.query_selector_all("[role='presentation'], [role='alert']"):
            if node.get_attribute("role") == "presentation" or _belongs(node):
                node.remove_attribute("role")
    if "time" in names or "itemprop=" in page:
        for node in body.query_selector_all("time, [itemprop='author'], [itemprop='datePublished'], [itemprop='url']"):
            if node.tag == "time" and _in_sentence(node):
                _rename(tree, node, "span")
            elif node.tag in _INLINE and _in_sentence(node):
                node.remove_attribute("itemprop")
    if names & {"button", "label"}:  # a button alone in its paragraph is one to share or to buy
        for node in body.query_selector_all("p button, li button, dd button, td button, p label, td label"):
            words = _is_words(node.prev, "prev") or _is_words(node.next, "next")
            if words and node.parent.tag not in ("pre", "code"):
                _rename(tree, node, "span")
    if "label" in names:
        for node in body.query_selector_all("li label, dd label"):
            if node.query_selector("input[disabled]"):
                _rename(tree, node, "span")
    for name in names & _RENAMED:
        for node in list(body.get_elements_by_tag_name(name)):
            _rename(tree, node, "div")
    if "ol" in names:
        _number_lists(tree, body)
    taken.cells = bool(names & {"td", "th"})
    if "pre" in names:
        for node in body.query_selector_all("pre" if taken.cells else "li pre, dd pre"):
            if node.query_selector(_NOT_IN_CODE):
                taken.cells = False
            else:
                _take_code(tree, node, taken.code)
    return taken


def with_marks(text: str, taken: Taken) -> str:
    """The extracted text with the numbers of items and the code for the marks that `mend_tree` left.

    A line of cells begins with none of the tabs between them, and code is indented as the item that holds it.
    """
    if taken.cells:
        text = text.replace("\n\t\t", "\n")
    if _NUMBER in text:
        text = _NUMBERED.sub(r"\1. ", text)
    if not taken.code:
        return text
    pieces: list[str] = []
    done = 0
    for mark in _CODE_AT.finditer(text):
        indent = " " * (mark.start() - text.rfind("\n", 0, mark.start()) - 1)
        lines = taken.code[int(mark[1])].split("\n")
        pieces += [text[done : mark.start()], "\n".join([lines[0], *((indent + line).rstrip() for line in lines[1:])])]
        done = mark.end()
    return "".join(pieces) + text[done:]


def _rename(tree: HTMLTree, node: Any, name: str) -> None:
    """Another element with the same children, hidden if the first one is; without classes, which say what it was."""
    if node.parent is None:
        return
    other: Any = tree.create_element(name)
    for attribute in _KEPT:
        if node.has_attribute(attribute):
            other.set_attribute(attribute, node.get_attribute(attribute) or "")
    while (child := node.first_child) is not None:
        other.append_child(child)
    node.parent.replace_child(other, node)


def _names(node: Any) -> str:
    role = node.get_attribute("role") or ""
    return " ".join((node.class_name or "", node.id or "", "" if role == "alert" else role))


def _belongs(node: Any) -> bool:
    """Whether a note is a part of the text: by its name, or because an article or running text is around it."""
    names = _names(node)
    if _FURNITURE.search(names):
        return False
    if _CALLOUT.search(names):
        return True
    if any(beside is not None and beside.tag in _FLOW for beside in (node.prev_element, node.next_element)):
        return True
    above = node.parent
    for _ in range(_DEEPEST):
        if above is None or above.tag in ("body", "#document"):
            break
        if above.tag == "article" or _ARTICLE.search(above.class_name or ""):
            return True
        above = above.parent
    return False


def _is_links(node: Any) -> bool:
    text = len(node.text.strip())
    links = sum(len(link.text.strip()) for link in node.get_elements_by_tag_name("a"))
    return links > _LINK_SHARE * text


def _in_sentence(node: Any) -> bool:
    """Whether words stand beside an element, or it is what a paragraph, an item or a cell holds."""
    if node.parent is not None and node.parent.tag in _HOLDS_WORDS:
        return True
    return _is_words(node.prev, "prev") or _is_words(node.next, "next")


def _is_words(beside: Any, direction: str) -> bool:
    """Whether the nearest thing on this side, blanks apart, is text or an element in a line of text."""
    while beside is not None and beside.tag == "#text" and not beside.text.strip():
        beside = getattr(beside, direction)
    return beside is not None and (beside.tag == "#text" or (beside.tag in _INLINE and bool(beside.text.strip())))


def _drop_gutters(body: Any, names: set[str]) -> None:
    """Remove the numbers beside lines of code; only what is figures and nothing else."""
    for code in body.query_selector_all("td pre, th pre") if "pre" in names else ():
        if _DIGITS.fullmatch(code.text):
            cell = _above(code, ("td", "th"))
            beside = cell and (cell.next_element or cell.prev_element)
            if beside and _DIGITS.fullmatch(cell.text) and beside.query_selector("pre, code"):
                cell.remove()
    for node in body.query_selector_all("[class*='gutter'], [class*='line'], [class*='ln'], [class*='num']"):
        if _GUTTER.search(node.class_name or "") and _DIGITS.fullmatch(node.text or "") and _is_code(node):
            node.remove()


def _is_code(node: Any) -> bool:
    for _ in range(_CLIMBED):
        if node is None or node.tag in ("body", "#document"):
            return False
        if node.tag in ("pre", "code") or _CODE_CLASS.search(node.class_name or ""):
            return True
        node = node.parent
    return False


def _above(node: Any, names: tuple[str, ...]) -> Any:
    while node is not None and node.tag not in names:
        node = node.parent
    return node


def _number_lists(tree: HTMLTree, body: Any) -> None:
    """Mark the items of ordered lists that are not numbered 1, 2, 3 with what the page shows."""
    for item in body.query_selector_all("ol > li[value]"):
        if not item.parent.has_attribute("start") and not item.parent.has_attribute("reversed"):
            item.parent.set_attribute("start", "1")
    for ordered in body.query_selector_all("ol[start], ol[reversed], ol[type]"):
        items = [child for child in ordered.child_nodes if child.tag == "li"]
        step = -1 if ordered.has_attribute("reversed") else 1
        number = _integer(ordered.get_attribute("start"), len(items) if step < 0 else 1)
        for item in items:
            number = _integer(item.get_attribute("value"), number)
            _mark(tree, item, _label(number, ordered.get_attribute("type") or "1"))
            number += step


def _integer(text: str | None, default: int) -> int:
    """HTML's rules for parsing integers (section 2.3.4.1)."""
    found = _NUMBER_TEXT.match(text or "")
    return int(found[1]) if found else default


def _label(number: int, kind: str) -> str:
    """A number as HTML's types of lists write it (section 4.4.5)."""
    if kind in ("a", "A") and number > 0:
        letters = ""
        while number:
            number, letter = divmod(number - 1, 26)
            letters = chr(ord(kind) + letter) + letters
        return letters
    if kind in ("i", "I") and 0 < number < 4000:
        roman = ""
        for value, letters in _ROMAN:
            roman += letters * (number // value)
            number %= value
        return roman if kind == "i" else roman.upper()
    return str(number)


def _mark(tree: HTMLTree, item: Any, label: str) -> None:
    """Put a mark before the first words of an item, which is where its number will be."""
    mark = f"{_NUMBER}{label}{_NUMBER}"
    node = item.first_child
    while node is not None and (node.tag != "#text" or not node.value.strip()):
        node = None if node.tag in ("pre", "ul", "ol", "dl") else node.first_child or node.next
    if node is None:
        item.insert_before(tree.create_text_node(mark), item.first_child)
    else:
        node.value = mark + node.value.lstrip()


def _take_code(tree: HTMLTree, node: Any, code: list[str]) -> None:
    """Leave a mark for code.

    Of the lines in an item the extractor would indent the first one alone, and its tabs could not be told from those
    between cells.
    """
    text = _code_text(node).rstrip().strip("\n")
    if not text or node.parent is None:
        return
    while (child := node.first_child) is not None:
        child.remove()
    node.append_child(tree.create_text_node(f"{_CODE}{len(code)}{_CODE}"))
    code.append(text)


def _code_text(top: Any) -> str:
    """The text of code, with a line for each `br` and block in it."""
    parts: list[str] = []
    node = top.first_child
    while node is not None:
        name = node.tag
        if name == "#text":
            parts.append(node.value.replace(GUARD, ""))
        elif name == "br" or (name in _CODE_BLOCKS and parts and not parts[-1].endswith("\n")):
            parts.append("\n")
        inner = node.first_child if name not in _NO_CODE else None
        while inner is None and node != top:
            inner = node.next
            if inner is None:
                node = node.parent
                if node is None or node == top:
                    return "".join(parts)
        node = inner
    return "".join(parts)
