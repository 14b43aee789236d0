"""The text of a web page, whose declared encodings may contradict each other."""

import codecs
import re

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

from puna.data.text.decode import marked_encoding

_META = re.compile(
    rb"<meta\b[^<>]*?charset\s*=\s*[\"']?\s*([\w:.-]{1,40})|<\?xml[^<>]*?encoding\s*=\s*[\"']([\w:.-]{1,40})", re.I
)
_META_BYTES = 4096
_REPLACED = "\ufffd"
_MOST_REPLACED = 0.005
"""Largest share of characters that do not decode; with more of them the label is wrong."""


def decode_page(content: bytes, label: str) -> str:
    """The text of a page; bytes that do not decode become U+FFFD.

    A byte order mark decides; without one it is UTF-8 if all of it is valid, whatever the labels say. Then follow the
    server's label, the page's own label, and a guess from its bytes.

    Args:
        content: The page.
        label: The server's label; empty if there is none.
    """
    if encoding := marked_encoding(content) or _wide(content):
        return content.decode(encoding, "replace")
    found = _META.search(content, 0, _META_BYTES)
    labels = [label, (found[1] or found[2]).decode("latin-1") if found else ""]
    if b"\x1b$" in content or b"\x1b(" in content:  # ISO 2022 uses only seven bits, so it looks like UTF-8
        labels = [name for name in labels if name.lower().startswith("iso-2022")]
    else:
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            if error.start >= len(content) - 3:  # cut off in a character
                return content.decode(errors="ignore")
    for name in labels:
        text = _decoded(content, name)
        if text.count(_REPLACED) <= _MOST_REPLACED * len(text) and text:
            return text
    return _decoded(content, detect_encoding(content) or "") or content.decode("cp1252", "replace")


def _decoded(content: bytes, label: str) -> str:
    """The text in the encoding that a browser takes for a label; empty if it does not know the label."""
    encoding = map_encoding_to_html5(label.strip(), fallback_utf8=False) if label.strip() else None
    try:
        codecs.lookup(encoding or "")
    except LookupError:
        return ""
    return content.decode(encoding or "", "replace")


def _wide(content: bytes) -> str:
    """The kind of UTF-16 without a byte order mark, recognised by the zeros of its spaces and tags."""
    head = content[:1024]
    odd, even = head[1::2].count(0), head[::2].count(0)
    if max(odd, even) * 5 < len(head):
        return ""
    return "utf-16-le" if odd > even else "utf-16-be"
