"""The cleaned documents of a build, split into training and held-out text, without exact duplicates.

```
documents/
  <source>.train.jsonl     {"id", "origin", "text"} per line, in the order of the ids
  <source>.heldout.jsonl
  dropped.jsonl            {"source", "id", "reason"} per line, and "duplicate_of" for duplicates
  record.json              counts, and the SHA-256 of the files above
```

The directory appears when it is complete. The held-out documents of all sources are read first, so that a text which
stands in both splits is dropped from the training text, never from the held-out text.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, TextIO

from puna.config.recipe import Recipe, Source
from puna.core.console import progress
from puna.core.errors import DataError
from puna.core.files import atomic_directory, sha256_file
from puna.core.layout import DataDir
from puna.core.records import Record
from puna.data.document import DUPLICATE, Document, Dropped
from puna.data.sources import locate, read_source

TRAIN, HELDOUT = "train", "heldout"
SPLITS = (HELDOUT, TRAIN)
"""In the order in which they are read."""


def build_documents(recipe: Recipe, out: DataDir) -> None:
    """Read all sources and write the documents' directory.

    Raises:
        DataError: There are no sources, one is missing, or a split of one would be empty.
    """
    if not recipe.data.sources:
        raise DataError(
            f"recipe {recipe.name!r} has no sources",
            hint="write a recipe that extends it, with [data.sources] and [mixture]",
        )
    record = Record("documents", config=recipe.data.model_dump(include={"sources"}))
    record.inputs = {name: locate(name, source)[1] for name, source in recipe.data.sources.items()}
    with atomic_directory(out.documents, replace=True) as directory:
        record.results = _Builder(directory).build(recipe)
        record.outputs = {path.name: sha256_file(path) for path in sorted(directory.iterdir())}
        record.write(directory / "record.json")


class _Builder:
    """Writes the files of one build and counts what goes into them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._kept: dict[bytes, str] = {}
        """SHA-256 of every kept text, and whose it is: of the texts themselves only one is in memory."""
        self._counts: dict[str, Any] = {}

    def build(self, recipe: Recipe) -> dict[str, Any]:
        for name in recipe.data.sources:
            self._counts[name] = {split: {"documents": 0, "bytes": 0} for split in (TRAIN, HELDOUT)} | {"dropped": {}}
        with ExitStack() as stack:
            dropped = stack.enter_context(self._open("dropped.jsonl"))
            for split in SPLITS:
                for name, source in recipe.data.sources.items():
                    with progress(f"read {name}, {split}", None, "documents") as advance:
                        self._read(name, source, split, dropped, advance)
        for name, counts in self._counts.items():
            for split in (TRAIN, HELDOUT):
                if not counts[split]["documents"]:
                    raise DataError(
                        f"source {name!r}: no document is left for the {split} split "
                        f"(train {counts[TRAIN]['documents']}, heldout {counts[HELDOUT]['documents']}, "
                        f"dropped {counts['dropped']})",
                        hint=f"correct data.sources.{name}: its include or its heldout_…",
                    )
        return self._counts

    def _read(self, name: str, source: Source, split: str, dropped: TextIO, advance: Callable[[float], None]) -> None:
        counts = self._counts[name]
        with self._open(f"{name}.{split}.jsonl") as file:
            for document in read_source(name, source, lambda i: is_heldout(source, name, i) == (split == HELDOUT)):
                advance(1)
                verdict = self._without_duplicates(document)
                if isinstance(verdict, Dropped):
                    counts["dropped"][verdict.reason] = counts["dropped"].get(verdict.reason, 0) + 1
                    _write_line(dropped, {key: value for key, value in asdict(verdict).items() if value})
                else:
                    counts[split]["documents"] += 1
                    counts[split]["bytes"] += len(verdict.text.encode())
                    _write_line(file, {"id": verdict.id, "origin": verdict.origin, "text": verdict.text})

    def _without_duplicates(self, document: Document | Dropped) -> Document | Dropped:
        if isinstance(document, Dropped):
            return document
        digest = sha256(document.text.encode()).digest()
        name = f"{document.source}/{document.id}"
        first = self._kept.setdefault(digest, name)
        return document if first == name else Dropped(document.source, document.id, DUPLICATE, first)

    def _open(self, name: str) -> TextIO:
        return (self._directory / name).open("w", encoding="utf-8", newline="\n")


def is_heldout(source: Source, name: str, identity: str) -> bool:
    """Whether a document is held out: by its id alone, so that adding others moves none between the splits."""
    if source.heldout_pattern:
        return re.search(source.heldout_pattern, identity) is not None
    return hash_fraction(f"{name}/{identity}") < source.heldout_fraction


def hash_fraction(text: str) -> float:
    """A number in [0, 1) that only `text` decides, evenly spread."""
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big") / 2**64


def documents_file(out: DataDir, source: str, split: str) -> Path:
    """Where the documents of a source and split are."""
    return out.documents / f"{source}.{split}.jsonl"


def read_documents(path: Path, source: str) -> Iterator[Document]:
    """The documents in a file of a build.

    Raises:
        DataError: The file is missing or a line is damaged.
    """
    read = 0
    try:
        with path.open("rb") as file:
            for line in file:
                yield _read_line(line, source)
                read += 1
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DataError(f"{path}: line {read + 1} is damaged", hint="build the data again") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})", hint="build the data again") from None


def _read_line(line: bytes, source: str) -> Document:
    fields = json.loads(line.decode())
    identity, text, origin = fields["id"], fields["text"], fields["origin"]
    if not (isinstance(identity, str) and isinstance(text, str) and isinstance(origin, str)):
        raise TypeError("a field of another type")
    text.encode()  # an escaped surrogate is JSON, but no text
    return Document(source, identity, text, origin)


def _write_line(file: TextIO, value: dict[str, str]) -> None:
    file.write(json.dumps(value, ensure_ascii=False) + "\n")
