"""The examples of a run as tokens, version 1: which tokens each has, and which of these are learned.

```
runs/NAME/examples/
  manifest.json              describes the files below; its presence means that the directory is complete
  settings.json              what decides the files: data, template, tokenizer, lengths
  train-00000.tokens         a little-endian 32-bit number per token: its id, and the highest bit if it is learned
  train-00000.documents      28 bytes per document (`ROW`):
                               start    index of its first token in the file of tokens
                               tokens   how many it has
                               targets  how many of them are learned
                               task     its task, as an index into the part's list
                               id       offset of its example's line in the file of ids
  train-00000.ids            a JSON string per example: its id in its source
  train-00000.json           the part's record; written last, so that a killed writer goes on behind it
  train-00001.…  heldout-00000.…
```

A part is of one source and split, and the parts of a source are in the order of its examples. An example is one
document, a conversation; a pair of answers is two, the preferred one first, each with the prompt. A document ends with
the last token that is learned: what comes behind it would change nothing. Its first token is never learned, because
nothing is before it that could predict it. So a document of n tokens takes n - 1 positions of a sequence.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from puna.core.errors import DataError
from puna.core.files import sha256_file, sha256_json
from puna.shards.files import LocalFiles, Piece

FORMAT, VERSION = "puna-example-tokens", 1
MANIFEST, SETTINGS = "manifest.json", "settings.json"
TOKENS, DOCUMENTS, IDS = KINDS = (".tokens", ".documents", ".ids")
ROW = np.dtype([("start", "<u8"), ("tokens", "<u4"), ("targets", "<u4"), ("task", "<u4"), ("id", "<u8")])
LEARNED = np.uint32(1 << 31)
"""The bit of a token that is learned."""
_LONGEST_ID = 1 << 16
"""Bytes of an example's id that are read at most."""
_HINT = "delete the directory and start the run again: the examples are then written again"


class Document(NamedTuple):
    """One text of an example, as tokens."""

    ids: NDArray[np.int64]
    learned: NDArray[np.bool_]
    """Of each token whether it is a target."""

    @property
    def positions(self) -> int:
        """Positions of a sequence that it takes: those of all tokens but the last, which nothing comes after."""
        return len(self.ids) - 1


@dataclass(frozen=True)
class Part:
    """A part of the examples, as its record has it."""

    name: str
    """Its files are called so: `train-00000`."""
    split: str
    source: str
    read: int
    """Examples that were read for it."""
    examples: int
    """Examples that it has."""
    documents: int
    tokens: int
    targets: int
    tasks: list[str]
    dropped: dict[str, int]
    """Examples that it does not have, by reason (`puna.finetune.truncation`)."""
    cut: dict[str, int]
    """Examples that were cut, tokens that they lost, and targets among these; empty where there are none."""
    refused: str
    """What the template said of the first example that it does not take, with the example's id; or empty."""
    files: dict[str, str]
    """SHA-256 of its files by name."""


class Examples:
    """The examples of one split.

    Examples are numbered from 0, source by source in the order of `names`; `read` gives the documents of any of them.

    Args:
        directory: The directory of all parts.
        parts: Those of this split, in the order of the sources.
        names: The sources.
        width: Documents of an example: 1, or 2 for pairs.
    """

    def __init__(self, directory: Path, parts: list[Part], names: list[str], width: int) -> None:
        self.parts, self.names, self.width = parts, names, width
        self.counts = {name: sum(part.examples for part in parts if part.source == name) for name in names}
        """Examples of each source."""
        self.firsts = np.cumsum([0, *self.counts.values()])
        """Number of each source's first example, and at the end of all examples."""
        rows = [_read_rows(directory, part) for part in parts]
        self._rows = np.concatenate(rows) if rows else np.empty(0, ROW)
        self._ends = np.cumsum([len(part) for part in rows])
        self.moved(directory)

    @classmethod
    def open(cls, directory: Path, split: str, names: list[str], *, verify: bool = False) -> Self:
        """The examples of a split in a directory that `puna.finetune.tokens.prepare` has written.

        Args:
            directory: The run's directory of examples.
            split: `train` or `heldout`.
            names: The recipe's sources; one may have no examples.
            verify: Whether every file is compared with its hash; its size always is.

        Raises:
            DataError: There are no examples, or a file is missing or damaged.
        """
        manifest = read_manifest(directory)
        parts = [part for part in manifest.parts if part.split == split]
        ordered = sorted(parts, key=lambda part: (names.index(part.source), part.name))
        if verify:
            for part in parts:
                _verify(directory, part)
        return cls(directory, ordered, names, manifest.width)

    def moved(self, directory: Path) -> None:
        """Read the files from here on in another directory, into which they were moved."""
        self.directory, self._files = directory, LocalFiles(directory)
        self._paths = [self._files.path(part.name + TOKENS) for part in self.parts]

    @property
    def fingerprint(self) -> str:
        """Equal fingerprints mean equal examples in the same order."""
        return sha256_json([self.names, self.width, [part.files for part in self.parts]])

    @property
    def total(self) -> int:
        """How many examples there are."""
        return int(self.firsts[-1])

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Positions of a sequence that each example takes."""
        return self._by_example("tokens") - self.width

    @cached_property
    def targets(self) -> NDArray[np.int64]:
        """Tokens of each example that are learned."""
        return self._by_example("targets")

    def source(self, examples: NDArray[np.int64]) -> NDArray[np.int64]:
        """The source of each of these examples, as an index into `names`."""
        return np.searchsorted(self.firsts, examples, side="right") - 1

    def tasks(self, name: str) -> tuple[list[str], NDArray[np.int64]]:
        """The names of a source's tasks, and the task of each of its examples, as an index into them."""
        names: dict[str, int] = {}
        found, end = [], 0
        for part, begin, end in zip(self.parts, [0, *self._ends], self._ends, strict=False):
            if part.source == name:
                here = np.array([names.setdefault(task, len(names)) for task in part.tasks], dtype=np.int64)
                found.append(here[self._rows["task"][begin : end : self.width]])
        return list(names), np.concatenate(found) if found else np.empty(0, np.int64)

    def read(self, examples: Iterable[int]) -> list[list[Document]]:
        """The documents of each of these examples.

        Raises:
            DataError: A file cannot be read any more.
        """
        numbers = np.fromiter(examples, np.int64)
        tokens_N, lengths = self.read_tokens(numbers)
        parts = np.split(tokens_N, np.cumsum(lengths)[:-1]) if len(lengths) else []
        read = [Document((part & ~LEARNED).astype(np.int64), (part & LEARNED) != 0) for part in parts]
        return [read[at : at + self.width] for at in range(0, len(read), self.width)]

    def read_tokens(self, examples: NDArray[np.int64]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """The tokens of these examples' documents one after the other, as they are in the files; and their lengths.

        Raises:
            DataError: A file cannot be read any more.
        """
        documents = (examples[:, None] * self.width + np.arange(self.width)).flatten()
        rows = self._rows[documents]
        lengths = rows["tokens"].astype(np.int64)
        ends = np.cumsum(lengths)
        tokens_N = np.empty(int(ends[-1]) if len(ends) else 0, dtype="<u4")
        raw = memoryview(tokens_N.view(np.uint8).data)
        of_part = np.searchsorted(self._ends, documents, side="right").tolist()
        self._fill(
            [
                Piece(self._paths[part], 4 * start, raw[4 * (end - length) : 4 * end])
                for part, start, length, end in zip(
                    of_part, rows["start"].tolist(), lengths.tolist(), ends.tolist(), strict=True
                )
            ]
        )
        return tokens_N, lengths

    def id(self, example: int) -> str:
        """The id of an example in its source."""
        document = example * self.width
        path, first = Path(self._path(document, IDS)), int(self._rows[document]["id"])
        raw = np.empty(min(_LONGEST_ID, path.stat().st_size - first), np.uint8)
        self._fill([Piece(str(path), first, raw.data)])
        return str(json.loads(raw.tobytes().split(b"\n", 1)[0]))

    def _by_example(self, field: str) -> NDArray[np.int64]:
        return self._rows[field].reshape(-1, self.width).sum(1, dtype=np.int64)

    def _path(self, document: int, kind: str) -> str:
        part = self.parts[int(np.searchsorted(self._ends, document, side="right"))]
        return self._files.path(part.name + kind)

    def _fill(self, pieces: list[Piece]) -> None:
        try:
            self._files.reader(pieces)
        except DataError as error:
            raise DataError(error.message, hint=_HINT) from None


class Manifest(NamedTuple):
    """What a directory of examples holds."""

    width: int
    """Documents of an example."""
    settings: dict[str, Any]
    """What decides the files."""
    parts: list[Part]
    """In the order of their names."""


def read_manifest(directory: Path) -> Manifest:
    """What a directory of examples holds.

    Raises:
        DataError: It is missing, unfinished, or of another version.
    """
    path = directory / MANIFEST
    try:
        fields = json.loads(path.read_bytes())
        if (fields["format"], fields["version"]) != (FORMAT, VERSION):
            raise ValueError(f"is of version {fields['version']}, and this Puna reads version {VERSION}")
        return Manifest(fields["width"], fields["settings"], [Part(**part) for part in fields["parts"]])
    except FileNotFoundError:
        raise DataError(f"{path}: is missing, so the run's examples are not written", hint=_HINT) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: is damaged: {error}", hint=_HINT) from None


def _read_rows(directory: Path, part: Part) -> NDArray[Any]:
    """The rows of a part's documents, after a look at its files."""
    sizes = {TOKENS: part.tokens * 4, DOCUMENTS: part.documents * ROW.itemsize}
    for kind in KINDS:
        path = directory / (part.name + kind)
        if not path.is_file() or path.stat().st_size != sizes.get(kind, path.stat().st_size):
            raise DataError(f"{path}: is missing or not whole", hint=_HINT)
    return np.fromfile(directory / (part.name + DOCUMENTS), ROW)


def _verify(directory: Path, part: Part) -> None:
    for name, digest in part.files.items():
        path = directory / name
        if not path.is_file() or sha256_file(path) != digest:
            raise DataError(f"{path}: is missing or damaged", hint=_HINT)
