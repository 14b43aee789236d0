"""Lines of JSON, written by any program."""

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

import orjson

_MARK = b"\xef\xbb\xbf"
_PIECE = 1 << 20


def json_lines(stream: BinaryIO, limit: int) -> Iterator[bytes | None]:
    """The lines of a stream without blanks around them; empty ones too, so that lines can be counted.

    Args:
        stream: JSON lines in UTF-8.
        limit: Most bytes of a line; one that is longer is passed over, and None stands in its place.
    """
    while line := stream.readline(limit + 2):
        ended = line.endswith(b"\n")
        if len(line) - ended > limit:
            while not ended and (line := stream.readline(_PIECE)):
                ended = line.endswith(b"\n")
            yield None
        else:
            yield line.removeprefix(_MARK).strip()


def parse_line(line: bytes) -> Any:
    """The value of a line.

    Python's `json` writes NaN and lone surrogates, which orjson refuses as the standard does (RFC 8259): neither
    is a reason to lose a text.

    Raises:
        ValueError: It is not JSON.
    """
    try:
        return orjson.loads(line)
    except ValueError as error:
        if b"NaN" not in line and b"Infinity" not in line and b"\\u" not in line:
            raise
        try:
            return json.loads(line)
        except (ValueError, RecursionError):
            raise error from None
