"""The text of a web page, whose declared encodings may contradict each other."""

import codecs
import re
from typing import Literal

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

from puna.data.text.decode import marked_encoding
from puna.data.text.prescan import declared_encoding, xml_encoding

Kind = Literal["html", "xml", "text"]
"""What declares an encoding in a page: its `meta` and its XML declaration, its XML declaration, or nothing."""

_CODECS = {
    "big5": "big5hkscs",
    "euc_kr": "cp949",
    "gbk": "gb18030",
    "iso2022_jp": "iso2022_jp_ext",
    "iso8859-11": "cp874",
    "shift_jis": "cp932",
}
"""Python's codecs that hold all characters of the Encoding standard's encodings of these names."""
_FURTHER = {
    "hz-gb-2312": "hz",
    "iso-2022-kr": "iso2022_kr",
    "csiso2022kr": "iso2022_kr",
    "x-mac-cyrillic": "mac_cyrillic",
    "x-mac-ukrainian": "mac_cyrillic",
    "x-user-defined": "cp1252",
}
"""Labels of the Encoding standard that Resiliparse does not know. A browser shows nothing of the first three, because
they can hide scripts; here they are text."""
_REPLACED = "\ufffd"
_MOST_REPLACED = 0.005
"""Largest share of characters that do not decode; with more of them the label is wrong."""
_ASCII = re.compile(rb"[\0-\x7f]{2,}")


def decode_page(content: bytes, label: str, kind: Kind = "html") -> str:
    """The text of a page; bytes that do not decode become U+FFFD.

    A byte order mark decides; without one it is UTF-8 if all of it is valid, whatever the labels say: text in another
    encoding is hardly ever valid UTF-8, and labels are often wrong. Then follow the server's label, the page's own
    (`puna.data.text.prescan`), and a guess from its bytes.

    Args:
        content: The page.
        label: The server's label; empty if there is none.
        kind: Where a label may stand in the page.
    """
    if encoding := marked_encoding(content) or _wide(content):
        return content.decode(encoding, "replace")
    if b"\x1b$" in content or b"\x1b(" in content:  # ISO 2022 uses only seven bits, so it looks like UTF-8
        seven_bits = True
    else:
        seven_bits = False
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            if error.start >= len(content) - 3:  # cut off in a character
                return content.decode(errors="ignore")
    own = {"html": declared_encoding, "xml": xml_encoding}.get(kind)
    for encoding in (encoding_of(label), own(content, encoding_of) if own else ""):
        if encoding and (encoding.startswith("iso2022") or not seven_bits):
            text = content.decode(encoding, _FAULTS.get(encoding, "replace"))
            if text.count(_REPLACED) <= _MOST_REPLACED * len(text):
                return text
    return _guessed(content)


def encoding_of(label: str) -> str:
    """The name of Python's codec for a label of the Encoding standard; empty for any other label."""
    label = label.strip("\t\n\f\r ").lower()
    found = _FURTHER.get(label) or (map_encoding_to_html5(label, fallback_utf8=False) if label else "") or ""
    return _codec(_CODECS.get(found, found))


def _codec(name: str) -> str:
    """The name itself if Python has a codec for it; otherwise empty."""
    try:
        codecs.lookup(name)
    except (LookupError, ValueError):
        return ""
    return name


def _guessed(content: bytes) -> str:
    """The text by a guess: from the bytes, then from those beyond ASCII alone, which markup may drown."""
    for sample in (content, _ASCII.sub(b" ", content)):
        name = (
            detect_encoding(sample, html5_compatible=False) or ""
        )  # the standard's names lack cp949, and become UTF-8
        encoding = encoding_of(name) or _codec(name)
        if encoding:
            text = content.decode(encoding, _FAULTS.get(encoding, "replace"))
            if text.count(_REPLACED) <= _MOST_REPLACED * len(text):
                return text
    return content.decode("cp1252", "replace")


def _row_of_nec(error: UnicodeError) -> tuple[str, int]:
    """Characters of EUC-JP that Python's codec lacks and Shift_JIS has, such as ①; U+FFFD for all others."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    pair = error.object[error.start : error.start + 2]
    if len(pair) == 2 and min(pair) >= 0xA1:
        row, cell = pair[0] - 0xA1, pair[1] - 0xA1
        lead = row // 2 + (0x81 if row < 62 else 0xC1)
        trail = cell + 0x9F if row % 2 else cell + 0x40 + (cell >= 63)
        return bytes((lead, trail)).decode("cp932", "replace")[:1], error.start + 2
    return _REPLACED, error.start + 1


codecs.register_error("puna.euc_jp", _row_of_nec)
_FAULTS = {"euc_jp": "puna.euc_jp"}
"""What is done with bytes that a codec does not know."""


def _wide(content: bytes) -> str:
    """The kind of UTF-16 without a byte order mark, recognised by the zeros of its spaces and tags."""
    head = content[:1024]
    odd, even = head[1::2].count(0), head[::2].count(0)
    if max(odd, even) * 5 < len(head):
        return ""
    return "utf-16-le" if odd > even else "utf-16-be"
