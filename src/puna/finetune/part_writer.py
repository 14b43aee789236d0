"""Writes one part of the examples: documents in, three files and their record out, all or nothing."""

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from puna.core.files import atomic_file, sha256_file, write_json
from puna.finetune.rendering import Outcome
from puna.finetune.token_files import DOCUMENTS, IDS, KINDS, LEARNED, ROW, TOKENS, Part

CUT = ("examples", "tokens", "targets")
"""The counts of what was cut: examples, tokens, and targets among these."""


class Encoded(NamedTuple):
    """Some examples one after the other, as they go from a process that renders to the one that writes."""

    tokens: NDArray[np.uint32]
    """Of all documents, with the bit of those that are learned."""
    lengths: list[int]
    """Tokens of each document."""
    targets: list[int]
    """Learned tokens of each document."""
    ids: list[str]
    """Of each example that is kept."""
    tasks: list[str]
    """The task of each example that is kept."""
    read: int
    """Examples that went in."""
    dropped: dict[str, int]
    cut: dict[str, int]
    refused: str
    """The id of the first example that the template does not take, and why; or empty."""


def encode(outcomes: Sequence[tuple[str, str, Outcome]]) -> Encoded:
    """What became of some examples, as one piece.

    Args:
        outcomes: The id of each example, its task, and what became of it.
    """
    documents = [document for _, _, outcome in outcomes for document in outcome.documents]
    tokens = [document.ids.astype(np.uint32) | np.where(document.learned, LEARNED, 0) for document in documents]
    kept = [(name, task) for name, task, outcome in outcomes if outcome.documents]
    cut = [outcome for _, _, outcome in outcomes if outcome.cut_tokens]
    counts = (len(cut), sum(one.cut_tokens for one in cut), sum(one.cut_targets for one in cut))
    refused = [f"{name}: {outcome.sentence}" for name, _, outcome in outcomes if outcome.sentence]
    return Encoded(
        np.concatenate(tokens).astype("<u4") if tokens else np.empty(0, "<u4"),
        [len(document.ids) for document in documents],
        [int(document.learned.sum()) for document in documents],
        [name for name, _ in kept],
        [task for _, task in kept],
        len(outcomes),
        dict(Counter(outcome.reason for _, _, outcome in outcomes if outcome.reason)),
        dict(zip(CUT, counts, strict=True)) if cut else {},
        refused[0] if refused else "",
    )


class PartWriter:
    """Appends examples to the files of a part, which get their names when the `with` block ends without an error.

    Args:
        directory: Where the part lies.
        name: `train-00000`.
        split: Its split.
        source: Its source.
        width: Documents of an example.
    """

    def __init__(self, directory: Path, name: str, *, split: str, source: str, width: int) -> None:
        self._directory, self._name, self._split, self._source, self._width = directory, name, split, source, width
        self._stack = ExitStack()
        self._tasks: dict[str, int] = {}
        self._rows: list[NDArray[np.void]] = []
        self._read = self._examples = self._documents = self._tokens = self._targets = self._id_bytes = 0
        self._dropped: Counter[str] = Counter()
        self._cut: Counter[str] = Counter()
        self._refused = ""

    def __enter__(self) -> Self:
        paths = [self._stack.enter_context(atomic_file(self._directory / (self._name + kind))) for kind in KINDS]
        self._files = dict(zip(KINDS, [self._stack.enter_context(path.open("wb")) for path in paths], strict=True))
        return self

    def add(self, encoded: Encoded) -> None:
        """Append what `encode` gave."""
        rows = np.zeros(len(encoded.lengths), ROW)
        lengths = np.array(encoded.lengths, np.int64)
        rows["tokens"], rows["targets"] = lengths, encoded.targets
        rows["start"] = self._tokens + np.cumsum(lengths) - lengths
        rows["task"] = np.repeat(
            [self._tasks.setdefault(task, len(self._tasks)) for task in encoded.tasks], self._width
        )
        lines = [json.dumps(name, ensure_ascii=False).encode() + b"\n" for name in encoded.ids]
        sizes = np.array([len(line) for line in lines], np.int64)
        rows["id"] = np.repeat(self._id_bytes + np.cumsum(sizes) - sizes, self._width)
        self._files[TOKENS].write(encoded.tokens.tobytes())
        self._files[DOCUMENTS].write(rows.tobytes())
        self._files[IDS].write(b"".join(lines))
        self._read += encoded.read
        self._examples += len(lines)
        self._documents += len(rows)
        self._tokens += int(lengths.sum())
        self._targets += sum(encoded.targets)
        self._id_bytes += int(sizes.sum())
        self._dropped.update(encoded.dropped)
        self._cut.update(encoded.cut)
        self._refused = self._refused or encoded.refused

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)
        if error is not None:
            return
        files = {self._name + kind: sha256_file(self._directory / (self._name + kind)) for kind in KINDS}
        part = Part(
            self._name, self._split, self._source, self._read, self._examples, self._documents, self._tokens,
            self._targets, list(self._tasks), dict(self._dropped), dict(self._cut), self._refused, files,
        )  # fmt: skip
        write_json(self._directory / f"{self._name}.json", asdict(part))
