"""XHTML, which is XML: the same page as HTML, for the parser of pages.

A browser reads `application/xhtml+xml` by XML's rules: `<script/>` ends itself, CDATA is text, prefixes count.
A page that is not well-formed it shows as an error; here such a page is read by HTML's rules, so that its text is kept,
but elements that end themselves are ended, since HTML would take the rest of the page for a script.
"""

import re
from html.entities import html5

from lxml import etree

_XHTML = "http://www.w3.org/1999/xhtml"
_KNOWN = (_XHTML, "http://www.w3.org/1998/Math/MathML", "http://www.w3.org/2000/svg")
_ENTITY = re.compile(r"&([A-Za-z][A-Za-z0-9]{1,31};)")
_DECLARATION = re.compile(r"\A\ufeff?\s*<\?xml[^>]*\?>")
_ROOT = re.compile(r"<(?:[A-Za-z][\w.-]*:)?html[\s>][^>]*?" + re.escape(_XHTML))
_LOOKED_AT = 4096
_ENDS_ITSELF = re.compile(
    r"<!--.*?-->|<!\[CDATA\[.*?\]\]>|<(?P<name>[A-Za-z][\w.:-]*)(?P<rest>(?:\s(?:[^<>\"']|\"[^\"<]*\"|'[^'<]*')*)?)/>",
    re.DOTALL,
)
_VOID = frozenset(
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"]
)
"""HTML's elements without an end (HTML standard, section 13.1.2)."""
_XML_OWN = frozenset(("amp;", "lt;", "gt;", "quot;", "apos;"))


def is_xhtml(page: str) -> bool:
    """Whether the root of an XML file is XHTML's `html`, by its beginning."""
    return bool(_ROOT.search(page, 0, _LOOKED_AT))


def xhtml_as_html(page: str) -> str:
    """The page as HTML; if it is not well-formed XML, the page itself with ends for elements that end themselves."""
    page = _DECLARATION.sub("", page)
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(_ENTITY.sub(_character, page).encode(), parser)
    except (etree.XMLSyntaxError, ValueError):
        return _ENDS_ITSELF.sub(_with_end, page)
    for element in root.iter(etree.Element):
        name = etree.QName(element)
        element.tag = name.localname if name.namespace in (None, *_KNOWN) else "span"
    etree.cleanup_namespaces(root)
    return "<!DOCTYPE html>" + etree.tostring(root, method="html", encoding="unicode")


def _with_end(match: re.Match[str]) -> str:
    name = match["name"]
    return match[0] if not name or name.lower() in _VOID else f"<{name}{match['rest']}></{name}>"


def _character(match: re.Match[str]) -> str:
    """The character of one of HTML's names, which XHTML's document type defines."""
    return match[0] if match[1] in _XML_OWN else html5.get(match[1], match[0])
