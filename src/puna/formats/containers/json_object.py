"""JSON objects in files of models, which may hold anything."""

from pathlib import Path
from typing import Any

from puna.core.bounded import parse_json, read_bounded
from puna.core.errors import FormatError

MOST_BYTES = 1 << 25
"""Of a file of settings, an index of tensors or a header of them. 10,000 layers, more than Puna accepts, would take
14 MB, and as objects of Python these many bytes take 0.4 GB at most."""


def json_object(content: bytes, where: str | Path) -> dict[str, Any]:
    """The JSON object in these bytes.

    Args:
        content: UTF-8 text.
        where: What to call it in errors.

    Raises:
        FormatError: It is not JSON, not an object, names something twice, or has more levels, objects or digits than
            any file should.
    """
    value = parse_json(content, where, FormatError)
    if not isinstance(value, dict):
        raise FormatError(f"{where}: is JSON, but not an object")
    return value


def read_json_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        FormatError: The file cannot be read, is not a regular file, is too large, or holds no JSON object.
    """
    return json_object(read_bounded(path, MOST_BYTES, FormatError), path)
