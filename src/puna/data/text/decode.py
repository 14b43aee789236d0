"""Turns bytes and strings from outside into text that a document may hold."""

import codecs
import re

from puna.data.text.invisible import undirected_text, visible_text

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_LONE_BYTE = re.compile("[\udc80-\udcff]")
_BLANK_LINES = re.compile(r"\A\s*\n")


def marked_encoding(content: bytes) -> str:
    """The encoding of a byte order mark, by its name in Python; empty without a mark."""
    return next((encoding for mark, encoding in _MARKS if content.startswith(mark)), "")


def decode_text(content: bytes) -> str:
    """UTF-8, or UTF-16 or UTF-32 with a byte order mark, as a string without the mark; nothing else is changed.

    Raises:
        UnicodeDecodeError: The bytes are something else.
    """
    return content.decode(marked_encoding(content) or "utf-8")


def nearly_utf8(content: bytes) -> str:
    """UTF-8 with some bytes of windows-1252 between, as files have that several editors wrote; empty if it is not that.

    Of the characters beyond ASCII at least three quarters must be valid UTF-8, or half where all of them are Latin
    letters and signs, which in windows-1252 would begin with A with a tilde or a circumflex: nobody writes that.
    """
    text = content.decode("utf-8", "surrogateescape")
    odd = _LONE_BYTE.findall(text)
    valid = [character for character in text if "\x7f" < character < "\udc80" or character > "\udcff"]
    if len(valid) < len(odd) * (1 if all(character < "\u0100" for character in valid) else 3) or not valid:
        return ""
    try:
        return _LONE_BYTE.sub(lambda byte: byte[0].encode("ascii", "surrogateescape").decode("cp1252"), text)
    except UnicodeDecodeError:
        return ""


def western(content: bytes) -> str:
    """Windows-1252, or Latin-1 where bytes have no character in it."""
    try:
        return content.decode("cp1252")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def newlines(text: str) -> str:
    r"""The text with `\n` for every `\r\n` and `\r`."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def clean_text(text: str, *, code: bool = False) -> str:
    r"""The text as a document may hold it: encodable, only `\n` between lines, nothing invisible, no blank ends.

    A pair of surrogates becomes the character that it stands for; a lone one is removed. Blanks at the end of the text
    are removed, those before its first word stay: they may be an indentation. Which invisible characters are text is
    decided in `puna.data.text.invisible`.

    Args:
        text: The text.
        code: Whether it is code, in which an invisible character may be data.
    """
    text = _whole_characters(text)
    text = (undirected_text if code else visible_text)(text).rstrip()
    return _BLANK_LINES.sub("", text, count=1)


def turn_text(text: str) -> str:
    """What a turn of a conversation says: as `clean_text`, but its blank ends stay, which a prompt may need."""
    return visible_text(_whole_characters(text))


def _whole_characters(text: str) -> str:
    """The text with plain ends of lines, without NUL and without halves of surrogate pairs."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
    return newlines(text).replace("\0", "")
