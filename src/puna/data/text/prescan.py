"""The encoding that a page declares in its first bytes, as browsers find it.

HTML standard, sections 13.2.3.2 ("prescan a byte stream to determine its encoding", "get an attribute", "get an XML
encoding") and 2.4.4 ("extracting a character encoding from a `meta` element"). Comments are skipped; a declaration is
a `meta` with `charset`, or with `http-equiv=content-type` and `content`; what a description says is not.
"""

import re
from collections.abc import Callable

_TAG = re.compile(rb"<(?:(!--)|([mM][eE][tT][aA])(?=[\t\n\f\r /])|(/?[A-Za-z][^\t\n\f\r >]*)(?=[\t\n\f\r >])|[!/?])")
_ATTRIBUTE = re.compile(
    rb"[\t\n\f\r /]*([^\t\n\f\r />][^\t\n\f\r />=]*)"
    rb"(?:[\t\n\f\r ]*=[\t\n\f\r ]*"
    rb"(?:\"([^\"]*)\"|'([^']*)'|(?=[\t\n\f\r >])|([^\"'\t\n\f\r >][^\t\n\f\r >]*)(?=[\t\n\f\r >]))"
    rb"|[\t\n\f\r ]*(?=[^\t\n\f\r =])|(?=[/>]))"
)
_TAG_END = re.compile(rb"[\t\n\f\r /]*>")
_CHARSET = re.compile(rb"charset[\t\n\f\r ]*=[\t\n\f\r ]*(?:\"([^\"]*)\"|'([^']*)'|([^\"'\t\n\f\r ;][^\t\n\f\r ;]*))")
_XML_VALUE = re.compile(rb"[\x00-\x20]*=[\x00-\x20]*([\"'])([^\x00-\x20]*?)\1")
_RAW = (b"script", b"style", b"title", b"textarea", b"xmp", b"iframe", b"noembed", b"noframes")
_PRESCANNED = 1024
"""Bytes that the standard's prescan looks at."""


def declared_encoding(content: bytes, known: Callable[[str], str]) -> str:
    """The encoding that a page declares; empty if it declares none.

    The first 1,024 bytes are looked at as the standard's prescan does it. If they say nothing, all tags of the page
    are, as a parser comes to a late `meta` (section 13.2.6.4.4); in that part scripts and titles are not markup.

    Args:
        content: The page.
        known: The name of the encoding of a label, empty if there is none; UTF-16 by a name that begins with `utf-16`.
    """
    return (
        _prescanned(content[:_PRESCANNED], known, late=False)
        or xml_encoding(content, known)
        or _prescanned(content, known, late=True)
    )


def xml_encoding(content: bytes, known: Callable[[str], str]) -> str:
    """The encoding that an XML declaration at the beginning names; empty without one."""
    end = content.find(b">") if content.startswith(b"<?xml") else -1
    name = content.find(b"encoding", 0, max(end, 0))
    found = _XML_VALUE.match(content, name + 8, end) if name >= 0 else None
    return _readable(known(found[2].decode("latin-1"))) if found else ""


def _readable(encoding: str) -> str:
    """The encoding itself, or UTF-8 for UTF-16: bytes in which ASCII could be read are not UTF-16."""
    return "utf-8" if encoding.lower().startswith("utf-16") else encoding


def _prescanned(content: bytes, known: Callable[[str], str], *, late: bool) -> str:
    at = 0
    while tag := _TAG.search(content, at):
        at = tag.end()
        if tag[1]:
            at = content.find(b"-->", at - 2) + 3
            if at < 3:
                return ""
        elif tag[2] or tag[3]:
            attributes, at = _attributes(content, at)
            if at < 0:
                return ""
            if tag[2] and (encoding := _of_meta(attributes, known)):
                return encoding
            if late and tag[3] and tag[3].lower() in _RAW:
                end = re.compile(rb"</" + tag[3] + rb"[\t\n\f\r />]", re.I).search(content, at)
                if end is None:
                    return ""
                at = end.start()
        else:
            at = content.find(b">", at) + 1
            if not at:
                return ""
    return ""


def _attributes(content: bytes, at: int) -> tuple[dict[bytes, bytes], int]:
    """The attributes of a tag in lower case, of equal names the first, and where the tag ends; -1 if nowhere."""
    found: dict[bytes, bytes] = {}
    while attribute := _ATTRIBUTE.match(content, at):
        at = attribute.end()
        value = attribute[2] or attribute[3] or attribute[4] or b""
        found.setdefault(attribute[1].lower(), value.lower())
    end = _TAG_END.match(content, at)
    return found, end.end() if end else -1


def _of_meta(attributes: dict[bytes, bytes], known: Callable[[str], str]) -> str:
    """The encoding that a `meta` declares, by whichever of its attributes comes first; empty if it declares none."""
    encoding, pragma = "", False
    for name, value in attributes.items():
        if name == b"charset":
            encoding, pragma = known(value.decode("latin-1")), False
            if not encoding:
                return ""
        elif name == b"content" and not encoding and (found := known(_in_content(value))):
            encoding, pragma = found, True
    if pragma and attributes.get(b"http-equiv") != b"content-type":
        return ""
    return _readable(encoding)


def _in_content(value: bytes) -> str:
    """The label in a `content` like `text/html; charset=utf-8`; empty without one."""
    found = _CHARSET.search(value)
    if not found:
        return ""
    label = found[1] or found[2] or found[3] or b""
    return label.decode("latin-1")
