"""Which solved examples stand before a document: never the document itself, nor another row with the same content."""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from puna.core.errors import EvaluateError
from puna.evaluate.example import Row
from puna.evaluate.task import Task

_NAMES = frozenset({"id", "idx", "ind", "index", "qid", "question_id", "example_id", "task_id", "uid"})
"""Fields that name a row and are not its content."""


class Shots:
    """Chooses the solved examples of each document of a task.

    Args:
        task: Says how many, from where and by which rule.
        pool: The rows of its `shot_split`; empty where it has no shots.
        documents: All rows that are asked about, in the order of their split, those that a limit leaves out included.
    """

    def __init__(self, task: Task, pool: Sequence[Row], documents: Sequence[Row]) -> None:
        self._task = task
        self._none = task.shots == 0 or task.pick == "own"
        self._pools = {} if self._none else _grouped(task, pool)
        self._drawn = None if self._none or task.draws is None else self._all(documents)

    def of(self, place: int, row: Row, id: str) -> Sequence[Row]:
        """The solved examples of the document at this place of its split.

        Raises:
            EvaluateError: There are not enough rows.
        """
        if self._none:
            return ()
        if self._drawn is not None:
            return self._drawn[place]
        pool = self._pools.get(_group(self._task, row), [])
        order = range(len(pool)) if self._task.pick == "first" else _order(len(pool), f"{self._task.seed}/{id}")
        found: list[Row] = []
        own = _content(row)
        for at in order:
            if _content(pool[at]) != own:
                found.append(pool[at])
                if len(found) == self._task.shots:
                    return found
        raise self._few(len(found), row)

    def _all(self, documents: Sequence[Row]) -> dict[int, Sequence[Row]]:
        """The examples of every document by the protocol's own rule, group by group."""
        places: dict[str, list[int]] = {}
        for place, row in enumerate(documents):
            places.setdefault(_group(self._task, row), []).append(place)
        drawn: dict[int, Sequence[Row]] = {}
        assert self._task.draws is not None  # noqa: S101 - the only caller has looked
        for group, of_group in places.items():
            rows = [documents[place] for place in of_group]
            chosen = [*self._task.draws(self._pools.get(group, []), rows, self._task.shots)]
            if (fewest := min(map(len, chosen))) < self._task.shots:
                raise self._few(fewest, rows[0])
            drawn |= zip(of_group, chosen, strict=True)
        return drawn

    def _few(self, found: int, row: Row) -> EvaluateError:
        group = _group(self._task, row)
        of = f" of {group!r}" if group else ""
        return EvaluateError(
            f"{self._task.id}: {self._task.data} has {found} rows{of} in its split {self._task.shot_split!r} that are "
            f"not the document itself, but {self._task.shots} solved examples are wanted",
            hint="ask for fewer: PROTOCOL/TASK@SHOTS",
        )


def _grouped(task: Task, pool: Sequence[Row]) -> dict[str, list[Row]]:
    grouped: dict[str, list[Row]] = {}
    for row in pool:
        grouped.setdefault(_group(task, row), []).append(row)
    return grouped


def _group(task: Task, row: Row) -> str:
    return task.group(row) if task.group else ""


def _order(n: int, seed: str) -> Iterator[int]:
    """The numbers below n in an order that the seed alone decides, each drawn when it is asked for."""
    generator, seen = random.Random(seed), set()  # noqa: S311 - nothing secret
    while len(seen) < n:
        if (at := generator.randrange(n)) not in seen:
            seen.add(at)
            yield at


def _content(row: Row) -> Mapping[str, Any]:
    return {name: value for name, value in row.items() if name not in _NAMES}
