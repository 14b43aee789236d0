"""Parses one JSON object from bytes that may hold anything."""

import json
from pathlib import Path
from typing import Any

from puna.core.errors import FormatError
from puna.core.files import decode_text


def json_object(content: bytes, where: str | Path) -> dict[str, Any]:
    """The JSON object in these bytes.

    Args:
        content: UTF-8 text.
        where: What to call it in errors.

    Raises:
        FormatError: It is not JSON, not an object, or names something twice.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) < len(pairs):
            seen: set[str] = set()
            twice = next(name for name, _ in pairs if name in seen or seen.add(name))
            raise FormatError(f"{where}: names {twice!r:.80} twice")
        return fields

    try:
        value = json.loads(decode_text(content, where, FormatError), object_pairs_hook=once)
    except ValueError as error:  # json's own error and the one for numbers of too many digits
        raise FormatError(f"{where}: is not JSON: {error}") from None
    except RecursionError:
        raise FormatError(f"{where}: is nested too deeply to be what it should be") from None
    if not isinstance(value, dict):
        raise FormatError(f"{where}: is JSON, but not an object")
    return value


def read_json_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        FormatError: The file cannot be read, or holds no JSON object.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror}") from None
    return json_object(content, path)
