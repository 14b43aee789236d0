"""Files of JSON lines (jsonlines.org) that users give: an object on each line."""

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from puna.core.bounded import parse_json
from puna.core.errors import UserError

SUFFIXES = (".jsonl", ".ndjson")
"""How the names of such files end."""


def is_json_lines(path: Path) -> bool:
    """Whether a file's name says that it has JSON lines."""
    return path.suffix.lower() in SUFFIXES


def read_objects(path: Path, error: type[UserError]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file, each with the number of its line from 1 on; empty lines are passed over.

    Args:
        path: The file, or a pipe.
        error: The class that the caller's users expect.

    Raises:
        UserError: The file cannot be read, or a line is not one JSON object; it names the line.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                # Some editors begin UTF-8 with a mark.
                content = line.removeprefix(codecs.BOM_UTF8 if number == 1 else b"").strip()
                if not content:
                    continue
                where = f"{path}: line {number}"
                found = parse_json(content, where, error)
                if not isinstance(found, dict):
                    raise error(f"{where}: is {found!r:.80}, expected an object with named fields")
                yield number, found
    except OSError as failure:
        raise error(f"{path}: cannot be read: {failure.strerror}") from None


def text_field(found: dict[str, Any], name: str, where: str, error: type[UserError]) -> str:
    """A field that must be a text.

    Raises:
        UserError: It is not there, or is something else; it names the fields that are there.
    """
    if name not in found:
        raise error(f"{where}: has no field {name!r}; its fields are {', '.join(map(repr, found)) or 'none'}")
    if not isinstance(found[name], str):
        raise error(f"{where}: {name!r} is {found[name]!r:.80}, expected a text")
    return found[name]
