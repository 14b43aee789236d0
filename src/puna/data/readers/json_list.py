"""The elements of one large JSON list, one after the other: a file of examples is often a list and not JSON lines."""

import re
from collections.abc import Iterator
from typing import BinaryIO

from puna.data.input.compression import CUT, TAIL, BrokenStreamError

_PIECE = 1 << 18
_PLAIN = re.compile(rb'(?:[^"\[\]{},]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+', re.DOTALL)
"""What neither opens nor closes anything: whole strings, numbers, names, blanks."""
_QUOTED = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
"""The rest of a string, up to its closing quote or to the end of the piece."""


def list_elements(stream: BinaryIO, limit: int) -> Iterator[bytes | None]:
    """The elements of the list that a stream of UTF-8 begins with, as they stand there; nothing in them is checked.

    Only quotes and brackets are looked at, so an element that is not valid JSON costs no other one, as long as its
    quotes and brackets are in pairs. Memory: one element, at most `limit` bytes, and a piece of the file.

    Args:
        stream: At the opening bracket, or before blanks that stand before it.
        limit: Most bytes of an element; one that is longer is passed over, and None stands in its place.

    Raises:
        BrokenStreamError: It ends within the list, or something stands behind the list.
    """
    scan = _Scan(stream, limit)
    if scan.skip_blanks() != b"[":
        raise BrokenStreamError("JSON: does not begin with a bracket")
    scan.take()
    number = 0
    while not scan.ended:
        element = scan.element()
        if not (scan.ended and not number and element == b""):  # that of an empty list
            yield element
        number += 1
    if scan.skip_blanks():
        raise BrokenStreamError(f"JSON: {TAIL}")


class _Scan:
    """A place in a stream that is read in pieces."""

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        self._stream, self._limit = stream, limit
        self._piece, self._at = b"", 0
        self._depth, self._quoted = 0, False
        self.ended = False
        """Whether the bracket that closes the list was read."""

    def skip_blanks(self) -> bytes:
        """Go to the next byte that is not blank, and return it; empty at the end of the stream."""
        while not (left := self._piece[self._at :].lstrip()):
            self._at = len(self._piece)
            if not self._more():
                return b""
        self._at = len(self._piece) - len(left)
        return left[:1]

    def take(self) -> None:
        """Go beyond one byte."""
        self._at += 1

    def element(self) -> bytes | None:
        """The bytes up to the next comma or to the end of the list, without blanks around them; None if too many."""
        self.skip_blanks()
        kept, is_long = bytearray(), False
        while True:
            begin, is_whole = self._at, self._walk()
            kept += self._piece[begin : self._at]
            if len(kept) > self._limit + _PIECE:  # blanks behind it are counted, too
                is_long = True
                kept.clear()
            if is_whole:
                self.ended = self._piece[self._at] == b"]"[0]
                self._at += 1
                found = bytes(kept).rstrip()
                return None if is_long or len(found) > self._limit else found
            if not self._more():
                raise BrokenStreamError(f"JSON: the list is {CUT}")

    def _walk(self) -> bool:
        """Go to what ends the element, or as far as the piece tells; whether it is the end."""
        piece = self._piece
        while self._at < len(piece):
            found = (_QUOTED if self._quoted else _PLAIN).match(piece, self._at)
            self._at = found.end() if found else self._at
            byte = piece[self._at : self._at + 1]
            if byte == b'"':
                self._quoted = not self._quoted
            elif not byte or self._quoted:  # the end of the piece, or a backslash before it
                return False
            elif byte in b"[{":
                self._depth += 1
            elif self._depth:
                self._depth -= byte in b"]}"
            elif byte == b"}":
                raise BrokenStreamError("JSON: a brace is closed that was not opened")
            else:
                return True
            self._at += 1
        return False

    def _more(self) -> bool:
        """Read the next piece behind what is left of this one; whether there was any."""
        new = self._stream.read(_PIECE)
        self._piece, self._at = self._piece[self._at :] + new, 0
        return bool(new)
