"""The canonical form of a benchmark's rows: JSON lines, the same bytes wherever the rows came from.

Each row is one line: an object with its keys in alphabetical order, no spaces, UTF-8 with characters as they are, and
a line break behind it. Numbers are written as Python writes them, so that floats keep their bits. Bytes, as in Parquet
files, have no place in it. Its SHA-256 is what the manifest proves a split by, and what results name.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from puna.core.bounded import open_regular
from puna.core.errors import EvaluateError
from puna.core.files import atomic_file


def line(row: Mapping[str, Any]) -> bytes:
    """A row as its line.

    Raises:
        ValueError: A number is infinite or not a number, or a text has half of a surrogate pair.
        TypeError: JSON does not have such a value.
    """
    text = json.dumps(row, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode() + b"\n"


def write(
    rows: Iterable[Mapping[str, Any]], path: Path, check: Callable[[int, str], None] = lambda n, sha256: None
) -> tuple[int, str]:
    """Write rows as a canonical file, which appears when it is complete.

    Args:
        rows: In the order in which they shall be.
        path: The file.
        check: Gets the number of rows and the SHA-256; what it raises keeps the file from appearing.

    Returns:
        How many there were, and the SHA-256 of the file.

    Raises:
        StorageError: It cannot be written.
        ValueError: A row has no canonical form.
        TypeError: As well.
    """
    n, digest = 0, hashlib.sha256()
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        for row in rows:
            content = line(row)
            digest.update(content)
            file.write(content)
            n += 1
        check(n, digest.hexdigest())
    return n, digest.hexdigest()


def measure(path: Path) -> tuple[int, str]:
    """How many rows a canonical file has, and its SHA-256.

    Raises:
        EvaluateError: It cannot be read.
    """
    n, digest = 0, hashlib.sha256()
    with open_regular(path, EvaluateError) as file:
        while block := file.read(1 << 20):
            digest.update(block)
            n += block.count(b"\n")
    return n, digest.hexdigest()


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a canonical file whose hash has been looked at.

    Raises:
        EvaluateError: It cannot be read, or a line is not an object.
    """
    with open_regular(path, EvaluateError) as file:
        for number, content in enumerate(file, 1):
            try:
                row = json.loads(content)
            except (ValueError, RecursionError) as error:
                raise EvaluateError(f"{path}: line {number}: is not JSON ({error})") from None
            if not isinstance(row, dict):
                raise EvaluateError(f"{path}: line {number}: is {row!r:.80}, expected an object")
            yield row
