"""A task is run: its documents are asked, answers judged and stored, figures made of them.

Neither the order of asking, nor what is asked together, nor the number of processes changes a figure: answers are put
back into the order of the split before anything is computed from them.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from puna.core.console import progress
from puna.core.schema.evaluation import Cut, Metric, TaskResult
from puna.evaluate.asking import Group, groups, in_order
from puna.evaluate.backend import Backend
from puna.evaluate.cache import token_cache
from puna.evaluate.documents import Documents
from puna.evaluate.example import Answer, Example, Judged
from puna.evaluate.figure import Figure
from puna.evaluate.lines import Answered, answered, line_of
from puna.evaluate.store import Cost, Store
from puna.evaluate.task import Task


class Processes(Protocol):
    """The processes that share the documents, such as a `puna.parallel.world.World`."""

    @property
    def rank(self) -> int:
        """The number of this one."""
        ...

    @property
    def size(self) -> int:
        """How many there are."""
        ...

    def first(self, action: Callable[[], Any]) -> Any:
        """Run an action on process 0; every process gets its result."""
        ...

    def each(self, value: Any) -> list[Any]:
        """The values that all processes bring, by rank, on every process."""
        ...


class Alone:
    """One process without others."""

    rank = 0
    size = 1

    def first(self, action: Callable[[], Any]) -> Any:
        """The result of the action."""
        return action()

    def each(self, value: Any) -> list[Any]:
        """This process's value."""
        return [value]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What comes of a task."""

    judged: Sequence[Judged]
    """All documents in the order of the split."""
    cost: Cost
    """What the asking took, over all sessions and processes; the seconds are those of the slowest process."""


def run_documents(
    documents: Documents,
    backend: Backend,
    store: Store | None = None,
    processes: Processes | None = None,
    *,
    token_ids: Path | None = None,
) -> Outcome:
    """Ask a task's documents, those that are stored left out, and judge the answers.

    Args:
        documents: What is asked.
        backend: Answers; every process has its own.
        store: Keeps what is done; None keeps nothing.
        processes: Share the documents; each returns the whole outcome.
        token_ids: The directory in which token ids are kept for later evaluations; None keeps none.

    Raises:
        UserError: The data, the backend or the disk does not do what it should.
    """
    processes = processes or Alone()
    task = documents.task
    examples = documents.examples()
    stored: dict[str, Answered] = {}
    cost = Cost()
    if store is not None:
        before = processes.first(store.read)
        stored = {id: answered(line) for id, line in before.lines.items()}
        cost.add(before.cost)
    left = in_order(example for example in examples if example.id not in stored)
    # Of neighbours in this order each process has its own, so that all have as much of every kind.
    share = left[processes.rank :: processes.size]
    done, spent = _ask(task, share, backend, store, processes, token_ids)
    for others, their_cost in processes.each((done, spent)):
        stored |= {one.id: one for one in others}
        cost.requests += their_cost.requests
        cost.tokens_read += their_cost.tokens_read
        spent.seconds = max(spent.seconds, their_cost.seconds)
    cost.seconds += spent.seconds
    judged = [stored[example.id].judged(example) for example in examples]
    if store is not None:
        processes.first(lambda: store.finish(map(line_of, judged), cost))
    return Outcome(judged=judged, cost=cost)


def _ask(
    task: Task,
    examples: Sequence[Example],
    backend: Backend,
    store: Store | None,
    processes: Processes,
    token_ids: Path | None,
) -> tuple[list[Answered], Cost]:
    """Ask one process's share of the documents."""
    cache = None
    if token_ids is not None:
        share = f"{processes.rank} of {processes.size}"
        cache = token_cache(task.id, task.protocol.join, backend, share=share, root=token_ids)
    done: list[Answered] = []
    cost = Cost()
    last = time.perf_counter()
    with progress(task.id, len(examples), "documents") as advance:
        for group in groups(examples, backend, task.protocol.join, cache=cache):
            judged, spent = _judged(task, group, backend)
            now = time.perf_counter()
            spent.seconds, last = now - last, now
            cost.add(spent)
            if store is not None:
                store.append(processes.rank, map(line_of, judged), spent)
            done += (
                Answered(id=one.example.id, answer=one.answer, values=one.values, shown=one.shown) for one in judged
            )
            advance(len(judged))
    return done, cost


def _judged(task: Task, group: Group, backend: Backend) -> tuple[list[Judged], Cost]:
    answers, cost = group.answers(backend)
    return [judge(task, one.example, answer) for one, answer in zip(group.asked, answers, strict=True)], cost


def judge(task: Task, example: Example, answer: Answer) -> Judged:
    """An answer with what it is worth; a value that is not finite could not be measured."""
    values, shown = task.judge(example, answer)
    finite = {name: value if value is not None and math.isfinite(value) else None for name, value in values.items()}
    return Judged(example=example, answer=answer, values=finite, shown=shown)


def figures(task: Task, judged: Sequence[Judged]) -> dict[str, Metric]:
    """The task's figures over these documents, the main one first."""
    return {name: metric_of(aggregate(judged, name)) for name, aggregate in task.metrics.items()}


def by_category(task: Task, judged: Iterable[Judged]) -> dict[str, dict[str, Metric]]:
    """The figures of each category, in alphabetical order; empty where documents have none."""
    parts: dict[str, list[Judged]] = {}
    for one in judged:
        parts.setdefault(one.example.category, []).append(one)
    return {name: figures(task, parts[name]) for name in sorted(parts)} if any(parts) else {}


def metric_of(figure: Figure) -> Metric:
    """A figure as results have it."""
    low, high = figure.interval or (None, None)
    return Metric(value=figure.value, n=figure.n, missing=figure.missing, stderr=figure.stderr, low=low, high=high)


def result_of(documents: Documents, outcome: Outcome, backend: Backend, **more: Any) -> TaskResult:
    """The figures of a task with all that decides whether others can be compared with them.

    Args:
        documents: What was asked.
        outcome: What came of it.
        backend: What answered.
        more: Further fields of the result: `limit_seed`, `samples`, `contamination`, `isolation`, `scorer`.
    """
    task, judged = documents.task, outcome.judged
    return TaskResult(
        id=task.id, title=task.title, protocol=task.protocol.name, protocol_version=task.protocol.version,
        task_version=task.version, data=task.data, data_sha256=documents.data_sha256, split=task.split,
        licence=documents.licence, shots=task.shots, shot_split=task.shot_split if task.shots else "",
        bos="one" if backend.tokenizer.add_bos else "none", n=documents.n, of=documents.of,
        metrics=figures(task, judged), categories=by_category(task, judged), chance=task.chance,
        cut=cut_of(judged), moved=sum(one.moved for each in judged for one in _all(each.answer)),
        seconds=round(outcome.cost.seconds, 3), requests=outcome.cost.requests,
        tokens_read=outcome.cost.tokens_read, **more,
    )  # fmt: skip


def _all(answer: Answer) -> list[Any]:
    return [*answer.likelihoods, *answer.own]


def cut_of(judged: Sequence[Judged]) -> Cut:
    """How many documents lost tokens at the beginning of a context, and the tokens of the longest loss of each."""
    cut = [max((one.cut for one in (*_all(each.answer), *each.answer.written)), default=0) for each in judged]
    return Cut(documents=sum(map(bool, cut)), tokens=sum(cut))


def fingerprint(documents: Documents, backend: Backend, model: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """What decides the answers of a task: equal fingerprints, equal answers.

    Args:
        documents: What is asked.
        backend: What answers.
        model: What tells the model from others, as plain JSON.
        more: What else decides: the seed and number of a limit, samples, a judge's name.
    """
    task = documents.task
    return {
        "task": task.id, "task_version": task.version, "protocol_version": task.protocol.version,
        "data_sha256": documents.data_sha256, "n": documents.n, "model": dict(model), "engine": backend.title,
        "tokenizer": backend.tokenizer.sha256, "bos": backend.tokenizer.add_bos, "longest": backend.longest,
    } | more  # fmt: skip
