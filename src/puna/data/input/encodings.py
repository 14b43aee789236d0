"""Streams of XML and of JSON lines as UTF-8, whatever encoding their first bytes tell of.

XML states its encoding by a byte order mark, by the form of its first characters, or in its declaration (XML 1.0,
section 4.3.3 and appendix F). JSON is UTF-8 (RFC 8259, section 8.1), but programs write it as UTF-16 too, with a mark;
without one its first two characters, which are ASCII, show the width (RFC 4627, section 3). What is UTF-8 already,
which is nearly everything, is not touched.
"""

import codecs
import io
import re
from typing import BinaryIO, cast

from puna.data.input.compression import BUFFER, BrokenStreamError
from puna.data.text.decode import marked_encoding

_INVALID = "puna-invalid"
_UTF8 = frozenset({"utf-8", "utf-8-sig", "ascii"})
_WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
_DECLARED = re.compile(rb"""\s*<\?xml\s[^<>]*?\sencoding\s*=\s*["']([A-Za-z][A-Za-z0-9._-]{0,60})["']""")
_SEVEN_ZIP = b"7z\xbc\xaf\x27\x1c"
_HEAD = 1024


def _invalid(error: UnicodeError) -> tuple[str, int]:
    """What does not decode becomes a byte that UTF-8 refuses: it costs its page or row, and no text holds a guess."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\udcff", error.end


codecs.register_error(_INVALID, _invalid)


def xml_as_utf8(stream: BinaryIO) -> BinaryIO:
    """A stream of XML as UTF-8: the stream itself if it is that, or if its beginning is not XML.

    Raises:
        BrokenStreamError: Its declared encoding is not known, or it is a 7z archive.
    """
    head = cast(io.BufferedReader, stream).peek(_HEAD)
    if head.startswith(_SEVEN_ZIP):
        raise BrokenStreamError("this is a 7z archive, which is not read: unpack it first")
    encoding = _wide_encoding(head, "<")
    if not encoding and (declared := _DECLARED.match(head)):
        label = declared[1].decode()
        try:
            "".encode(label)
            encoding = codecs.lookup(label).name
        except LookupError:
            raise BrokenStreamError(f"its encoding {label} is not known") from None
        if encoding.startswith(("utf-16", "utf-32")):  # a declaration in single bytes cannot be right about that
            encoding = "utf-8"
    return _decoded(stream, encoding)


def json_lines_as_utf8(stream: BinaryIO) -> BinaryIO:
    """A stream of JSON lines, or of one list, as UTF-8: the stream itself if it is that."""
    head = cast(io.BufferedReader, stream).peek(4)
    return _decoded(stream, _wide_encoding(head, "{") or _wide_encoding(head, "["))


def _wide_encoding(head: bytes, first: str) -> str:
    """UTF-16 or UTF-32 by a mark, or by the width of the first character; empty for everything else."""
    if marked := marked_encoding(head):
        return marked
    if b"\0" not in head[:4]:
        return ""
    return next((name for name in reversed(_WIDE) if head.startswith(first.encode(name))), "")


def _decoded(stream: BinaryIO, encoding: str) -> BinaryIO:
    if not encoding or encoding in _UTF8:
        return stream
    return cast(BinaryIO, io.BufferedReader(_Utf8(stream, encoding), BUFFER))


class _Utf8(io.RawIOBase):
    """The bytes of a text in another encoding, as UTF-8."""

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)(_INVALID)
        self._ready = b""
        self._ended = False

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read on; returns the number of bytes, 0 at the end."""
        while not self._ready and not self._ended:
            block = self._stream.read(BUFFER)
            self._ended = not block
            text = self._decoder.decode(block, final=self._ended)
            self._ready = text.encode("utf-8", "surrogateescape")
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def close(self) -> None:
        """Close the stream below it too."""
        if not self.closed:
            self._stream.close()
        super().close()
