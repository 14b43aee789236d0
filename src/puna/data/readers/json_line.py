"""A line of JSON, written by any program."""

import json
from typing import Any

import orjson


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
