r"""Formulas of a page, each once and as TeX: `$…$` in a line, `$$…$$` on lines of their own.

The tools that set formulas write them several times: as MathML with the TeX in an annotation (KaTeX, Wikipedia,
LaTeXML), as TeX in a script beside a preview and the result (MathJax 2), as a picture with the TeX as its alternative
text (Wikipedia, WordPress). Here the TeX wins; MathML without it becomes its own text; a formula that is written
otherwise, such as `\(x\)` for a script to find, stays as it is.
"""

import re
from typing import Any
from urllib.parse import unquote, unquote_plus

from resiliparse.parse.html import HTMLTree

from puna.data.text.scripts import lowered, raised

_NAMES = {"math", "mjx-container", "amp-mathml"}
_WORDS = (
    "atex",
    "math/",
    "MathJax",
    '"tex',
    "=tex",
    '="$',
    "-tex=",
    "?tex=",
    "Wirisformula",
    "mathtex.cgi",
    "mimetex.cgi",
)
"""One of these stands in each page with a formula that is changed here: KaTeX, latex.php, math/tex, /math/render."""
_WRAPPER = re.compile(r"(?:^|\s)(?:katex(?:-display|-mathml)?|mwe-math-\S+|MathJax\w*|MJX\w*|mjx-\S+|texImage)(?:\s|$)")
_DISPLAY = re.compile(r"katex-display|mwe-math-(?:element-block|fallback-image-display)|MathJax_\w*Display|mjx-display")
_RENDERED = re.compile(r"(?:^|\s)(?:MathJax|MJX)")
_MATH_PICTURE = re.compile(r"(?:^|\s)(?:tex|latex|math|mwe-math-fallback-image-\w+)(?:\s|$)", re.I)
_MATH_SOURCE = re.compile(
    r"latex\.php\?|latex\.codecogs\.com/|/math/render/|mathtex\.cgi|mimetex\.cgi|equation\?tex=", re.I
)
_IN_ADDRESS = re.compile(
    r"(?:latex\.php\?(?:[^#]*&)?latex=|equation\?(?:[^#]*&)?tex=)([^&#]+)"
    r"|(?:codecogs\.com/(?:\w+\.(?:latex|image|download)|eq\.latex)|(?:mathtex|mimetex)\.cgi)\?([^#]+)",
    re.I,
)
"""TeX in the address of a picture, for services that draw it."""
_WIRIS = str.maketrans({"\u00ab": "<", "\u00bb": ">", "\u00a8": '"', "\u00a7": "&"})
"""How MathType writes MathML in an attribute."""
_MARKS = ((r"\(", r"\)"), (r"\[", r"\]"), ("$$", "$$"), ("$", "$"))
_CDATA = re.compile(r"%?\s*(?:<!\[CDATA\[|\]\]>)")
_COMMENT = re.compile(r"(?<!\\)%[^\n]*\n")
_STYLE = re.compile(r"\{\\(?:display|text)style\s+(.*)\}", re.S)
_INVISIBLE = re.compile("[\u2061-\u2064\u200b\ufdd0]")
_GUARD = "\ufdd0"
"""A code point that is not a character; it makes a text longer, and `main_text` removes it."""
_DEEPEST = 40
"""How deep MathML is followed; below it there is no structure."""
_CLIMBED = 8
_BESIDE = 2000


def has_formulas(names: set[str], page: str) -> bool:
    """Whether a page with elements of these names may have formulas that need a change."""
    return bool(names & _NAMES) or any(word in page for word in _WORDS)


def mend_formulas(tree: HTMLTree) -> None:
    """Replace each formula, with all its copies, by one text."""
    body: Any = tree.body
    for script in body.query_selector_all("script[type^='math/']"):
        _mend_script(tree, script)
    for preview in body.query_selector_all(".MathJax_Preview"):
        if _RENDERED.search(_class(preview.next_element)):
            preview.remove()
    for math in body.query_selector_all("math"):
        if not _inside(math, "math"):
            _put(tree, _outermost(math), *_of_math(math))
    for node in body.query_selector_all("[data-latex], [data-tex], [data-mathml], amp-mathml[data-formula]"):
        _mend_attribute(tree, node)
    for katex in body.query_selector_all(".katex-html"):
        katex.remove_attribute("aria-hidden")  # the only copy: others went with their formula
    for picture in body.query_selector_all("img"):
        _mend_picture(tree, picture)


def _mend_script(tree: HTMLTree, script: Any) -> None:
    """A script of MathJax 2 or kramdown; what MathJax made of it stands before it."""
    before = script.prev
    while before is not None and (
        _RENDERED.search(_class(before)) or (before.tag == "#text" and not before.text.strip())
    ):
        before, rendered = before.prev, before
        if rendered.tag != "#text":
            rendered.remove()
    kind = (script.get_attribute("type") or "").lower()
    text = script.text
    if kind.startswith("math/tex"):
        _put(tree, script, "tex", text, "mode=display" in kind.replace(" ", ""))
    elif kind.startswith("math/mml"):
        math: Any = HTMLTree.parse(text).body
        first = math.query_selector("math")
        _put(tree, script, *(_of_math(first) if first else ("text", "", False)))
    else:
        _put(tree, script, "text", f"`{' '.join(text.split())}`", False)


def _mend_attribute(tree: HTMLTree, node: Any) -> None:
    if _inside(node, "[data]") or not _attached(node):
        return
    tex = next(filter(None, map(node.get_attribute, ("data-latex", "data-tex", "data-formula"))), "")
    display = bool(_DISPLAY.search(_class(node))) or node.get_attribute("display") == "true"
    if tex:
        _put(tree, _outermost(node), "tex", tex, display)
    elif markup := node.get_attribute("data-mathml"):
        parsed: Any = HTMLTree.parse(markup.translate(_WIRIS) if markup.startswith("\u00ab") else markup).body
        if math := parsed.query_selector("math"):
            _put(tree, _outermost(node), *_of_math(math))


def _mend_picture(tree: HTMLTree, picture: Any) -> None:
    """A picture of a formula, unless the formula stands beside it already."""
    source = picture.get_attribute("src") or ""
    known = _MATH_PICTURE.search(_class(picture)) or _MATH_SOURCE.search(source)
    tex = (picture.get_attribute("alt") or "").strip()
    if not tex and known and (address := _IN_ADDRESS.search(source)):
        tex = unquote_plus(address[1]) if address[1] else unquote(address[2])
    if not tex or not (known or _unmarked(tex) != tex):
        return
    display = bool(_DISPLAY.search(_class(picture))) or tex.startswith((r"\[", "$$"))
    around = picture.parent.parent if picture.parent else None
    text = (around.text or "") if around else ""
    if len(text) < _BESIDE and _plain(tex) in text:
        picture.remove()
    else:
        _put(tree, _outermost(picture), "tex", tex, display)


def _of_math(math: Any) -> tuple[str, str, bool]:
    """The kind, `tex` or `text`, and the words of a `math` element, and whether it has lines of its own."""
    top = _outermost(math)
    style = math.get_attribute("alttext") or ""
    display = math.get_attribute("display") == "block" or any(
        _DISPLAY.search(_class(node)) for node in (top, top.parent) if node is not None
    )
    for note in math.query_selector_all("annotation"):
        if "tex" in (note.get_attribute("encoding") or "").lower() and note.text.strip():
            return "tex", note.text, display
    if style.strip():
        return "tex", style, display
    return "text", _linear(math, 0), display


def _put(tree: HTMLTree, node: Any, kind: str, words: str, display: bool) -> None:
    """Replace an element by a formula."""
    if kind == "tex":
        words = _plain(words)
        words = (f"$${words}$$" if display else f"${words}$") if words else ""
    text: Any = tree.create_text_node(words + _GUARD)
    if display and words:  # a formula of three bytes would be taken for an icon
        block: Any = tree.create_element("div")
        block.append_child(text)
        text = block
    if node.parent is not None:
        node.parent.replace_child(text, node)


def _plain(tex: str) -> str:
    """TeX on one line, without its marks and what sets its size."""
    tex = _COMMENT.sub("\n", _CDATA.sub("", tex.replace("\ufdd0", "")) + "\n")
    tex = _unmarked(" ".join(tex.split()))
    style = _STYLE.fullmatch(tex)
    return style[1].strip() if style and _balanced(style[1]) else tex


def _balanced(tex: str) -> bool:
    """Whether no brace closes that was not opened."""
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", tex):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return False
    return True


def _unmarked(tex: str) -> str:
    for begin, end in _MARKS:
        if len(tex) > len(begin) + len(end) and tex.startswith(begin) and tex.endswith(end):
            return tex[len(begin) : -len(end)].strip()
    return tex


def _linear(node: Any, depth: int) -> str:
    """MathML as text on one line: x², a/(b+c), √(x)."""
    if node.tag == "#text":
        return " ".join(_INVISIBLE.sub("", node.text).split())
    children = [child for child in node.child_nodes if child.tag != "#comment"]
    elements = [child for child in children if child.tag != "#text"]
    if depth > _DEEPEST or not elements:
        text = _INVISIBLE.sub("", node.text or "")
        return " ".join(text.split())
    if node.tag == "semantics":
        return _linear(elements[0], depth + 1)
    parts = [_linear(child, depth + 1) for child in elements if not child.tag.startswith("annotation")]
    if node.tag in ("msup", "mover") and len(parts) == 2:
        return parts[0] + raised(parts[1], parts[0][-1:])
    if node.tag in ("msub", "munder") and len(parts) == 2:
        return parts[0] + lowered(parts[1], parts[0][-1:])
    if node.tag in ("msubsup", "munderover") and len(parts) == 3:
        return parts[0] + lowered(parts[1], parts[0][-1:]) + raised(parts[2], parts[0][-1:])
    if node.tag == "mfrac" and len(parts) == 2:
        return "/".join(part if len(part) == 1 or part.isalnum() else f"({part})" for part in parts)
    if node.tag == "msqrt":
        return f"√({''.join(parts)})"
    return {"mtable": "; ", "mtr": ", "}.get(node.tag, "").join(parts)


def _outermost(node: Any) -> Any:
    """The element around a formula that holds it and its copies alone."""
    top = node
    for _ in range(_CLIMBED):
        parent = top.parent
        if (
            parent is None
            or parent.tag == "body"
            or not (_WRAPPER.search(_class(parent)) or (parent.tag or "").startswith("mjx-"))
        ):
            break
        top = parent
    return top


def _inside(node: Any, what: str) -> bool:
    """Whether an element lies in another one of this name, or in one with TeX in an attribute."""
    for _ in range(_DEEPEST):
        node = node.parent
        if node is None or node.tag in ("body", "#document"):
            return False
        if node.tag == what or (what == "[data]" and any(map(node.has_attribute, ("data-latex", "data-tex")))):
            return True
    return False


def _attached(node: Any) -> bool:
    while node is not None and node.tag != "body":
        node = node.parent
    return node is not None


def _class(node: Any) -> str:
    return (getattr(node, "class_name", "") or "") if node is not None else ""
