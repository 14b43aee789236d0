"""The documents of a task: rows of its split with their solved examples, all of them or a part drawn by a seed."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Protocol, TypeAlias

from puna.core.errors import EvaluateError
from puna.core.files import sha256_json
from puna.evaluate.example import Example, Row
from puna.evaluate.shots import Shots
from puna.evaluate.task import Task


class Rows(Protocol):
    """A split of a data set, such as `puna.benchmarks.files` opens."""

    @property
    def rows(self) -> Iterable[Row]:
        """The rows in the order of their file.

        Raises:
            EvaluateError: They are missing.
        """
        ...

    @property
    def sha256(self) -> str:
        """The hash of the data; empty where it is missing."""
        ...

    @property
    def missing(self) -> str:
        """Why it is not here and how to get it, as a sentence; empty where it is here."""
        ...

    @property
    def licence(self) -> str:
        """The licence of the data; empty if unknown."""
        ...


OpenSplit: TypeAlias = Callable[[str, str], Rows]
"""Opens a split by the names of the data set and of the split.

Raises:
    EvaluateError: It is not there, or damaged.
"""


@dataclass(frozen=True, kw_only=True)
class Documents:
    """What a task asks about, in the order of its split."""

    task: Task
    of: int
    """Documents that the split has."""
    data_sha256: str
    """Of the split; with shots from another split of both."""
    asked_sha256: str
    """Of the split alone."""
    licence: str
    rows: tuple[tuple[int, Row], ...]
    """The rows that are asked about, each with its place in the split."""
    shots: Shots

    @property
    def n(self) -> int:
        """How many documents are asked about."""
        return len(self.rows)

    def examples(self) -> tuple[Example, ...]:
        """What is asked about each; they are made at the first call.

        Raises:
            EvaluateError: A row has not the fields that the task reads, two have one id, or there are too few rows for
                the solved examples.
        """
        return self._examples

    @cached_property
    def _examples(self) -> tuple[Example, ...]:
        seen: set[str] = set()
        made = []
        for place, row in self.rows:
            number = str(place)
            shots = self.shots.of(place, row, number)
            try:
                example = self.task.example(row, shots, number)
            except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
                what = f"no field {error}" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
                raise EvaluateError(
                    f"{self.task.id}: row {place} of {self.task.data}, split {self.task.split!r}, is not of the form "
                    f"that the task reads ({what})"
                ) from error
            if example.id in seen:
                raise EvaluateError(f"{self.task.id}: two documents of {self.task.data} have the id {example.id!r}")
            seen.add(example.id)
            made.append(example)
        return tuple(made)


def open_documents(task: Task, open_split: OpenSplit, *, limit: int | None = None, seed: int = 0) -> Documents:
    """The documents of a task.

    Args:
        task: Which split, and what is made of its rows.
        open_split: Opens the data.
        limit: How many documents are asked about; None is all. A smaller limit is a part of a larger one.
        seed: Chooses them.

    Raises:
        EvaluateError: The data is not there, is damaged, or has no rows.
    """
    split = open_split(task.data, task.split)
    rows = _rows(task, split)
    if not rows:
        raise EvaluateError(f"{task.id}: {task.data} has no rows in its split {task.split!r}")
    pool: Sequence[Row] = ()
    digest = split.sha256
    if task.shots and task.pick != "own":
        if task.shot_split in ("", task.split):
            pool = rows
        else:
            other = open_split(task.data, task.shot_split)
            pool, digest = _rows(task, other), sha256_json([split.sha256, other.sha256])
    places = range(len(rows)) if limit is None else sorted(_part(len(rows), limit, seed))
    return Documents(
        task=task, of=len(rows), data_sha256=digest, asked_sha256=split.sha256,
        licence=split.licence or task.license_note,
        rows=tuple((place, rows[place]) for place in places), shots=Shots(task, pool, rows),
    )  # fmt: skip


def _rows(task: Task, split: Rows) -> list[Row]:
    return list(task.rows(split.rows) if task.rows else split.rows)


def _part(n: int, limit: int, seed: int) -> list[int]:
    """The places whose hashes are the smallest, so that a larger limit only adds to them."""
    return sorted(range(n), key=lambda place: sha256(f"{seed}/{place}".encode()).digest())[:limit]
