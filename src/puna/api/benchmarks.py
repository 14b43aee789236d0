"""What can be evaluated: all tasks and suites, and the data that they need."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from puna.core.console import say, warn
from puna.core.errors import EvaluateError
from puna.core.user_path import user_path

if TYPE_CHECKING:
    from puna.api.recipes import PathLike
    from puna.evaluate.task import Task


@dataclass(frozen=True, kw_only=True)
class TaskEntry:
    """A task as lists show it."""

    id: str
    title: str
    metrics: tuple[str, ...]
    """The main one first."""
    data: str
    """The data set and its split."""
    licence: str
    """Of the data, as its authors state it."""
    missing: str
    """Why the data cannot be used and how to get it, as a sentence; empty where it is here."""


def list_tasks(names: Sequence[str] = (), *, data_dir: "PathLike | None" = None) -> list[TaskEntry]:
    """The tasks of suites, of protocols, of names, or all; nothing is read but what says whether their data is here.

    Args:
        names: Suites, protocols, or tasks with or without their protocol.
        data_dir: A directory with the data of benchmarks.

    Raises:
        EvaluateError: Nothing has one of these names, or the directory is not there.
    """
    from puna.benchmarks.manifest import manifest

    directory = _directory(data_dir)
    known = manifest()
    return [
        TaskEntry(
            id=task.id, title=task.title, metrics=tuple(task.metrics), data=f"{task.data}, {task.split}",
            licence=known[task.data].licence if task.data in known else task.license_note,
            missing=next((missing for split in _splits(task) if (missing := _missing(task, split, directory))), ""),
        )
        for task in _found(names)
    ]  # fmt: skip


def fetch_data(names: Sequence[str], *, data_dir: "PathLike | None" = None) -> None:
    """Get the data of suites, protocols or tasks; what is here already is left as it is.

    Args:
        names: As of `list_tasks`; none means all tasks.
        data_dir: A directory with the data of benchmarks, where it is looked for first.

    Raises:
        EvaluateError: Nothing has one of these names, or the directory is not there; or some data cannot be had, after
            all other data was fetched.
        StorageError: The disk is full.
    """
    from puna.benchmarks.fetch import fetch

    directory = _directory(data_dir)
    failed = 0
    wanted = dict.fromkeys((task.data, split) for task in _found(names) for split in _splits(task))
    for data, split in wanted:
        try:
            found = fetch(data, split, data_dir=directory)
        except EvaluateError as error:
            warn(str(error))
            failed += 1
        else:
            say(f"{data}, {split}: {found.n:,} rows, SHA-256 {found.sha256}")
    if failed:
        raise EvaluateError(f"{failed} of {len(wanted)} splits could not be had; the others are here")


def _directory(data_dir: "PathLike | None") -> Path | None:
    """The user's directory with data.

    Raises:
        EvaluateError: It is not there.
    """
    if data_dir is None or (directory := user_path(data_dir)).is_dir():
        return None if data_dir is None else directory
    raise EvaluateError(f"{directory}: is not a directory, expected one with the data of benchmarks")


def _found(names: Sequence[str]) -> "list[Task]":
    """The tasks that these names mean, each once; all where there are none."""
    from puna.evaluate.registry import find_task, tasks
    from puna.evaluate.suites import suites

    known = tasks()
    if not names:
        return list(known.values())
    found: dict[str, Task] = {}
    for name in names:
        if name in suites():
            those = [find_task(id) for id in suites()[name].tasks]
        else:
            those = [task for key, task in known.items() if name in key.split("/")] or [find_task(name)]
        found |= {task.id: task for task in those}
    return list(found.values())


def _splits(task: "Task") -> list[str]:
    shots = [task.shot_split] if task.shots and task.pick != "own" and task.shot_split else []
    return [task.split, *shots]


def _missing(task: "Task", split: str, directory: Path | None) -> str:
    """Why a split of a task's data cannot be used, as a sentence; a package's task may name what nobody knows."""
    from puna.benchmarks.files import what_is_missing

    try:
        return what_is_missing(task.data, split, data_dir=directory)
    except EvaluateError as error:
        return f"{task.id}: {error.message}"
