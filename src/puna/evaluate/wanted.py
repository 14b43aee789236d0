"""What a user asks for by names: tasks, suites, and files with tasks of one's own."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from puna.benchmarks.files import open_split
from puna.benchmarks.readers import read_rows
from puna.core.errors import EvaluateError
from puna.core.user_path import user_path
from puna.evaluate.documents import OpenSplit, Rows
from puna.evaluate.registry import find_task
from puna.evaluate.suites import find_suite
from puna.evaluate.task import Task
from puna.evaluate.toml_task import FileSplit, is_task_file, read_tasks


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Tasks, each once, in the order in which they were asked for."""

    named: tuple[Task, ...]
    """Those that the user has named: all of them have to be done."""
    of_suite: tuple[Task, ...]
    """The others of the suite: those that can be done are."""
    instead: Mapping[str, Task] = field(default_factory=dict)
    """By the ids of tasks of the suite, tasks on other data that stand in for them where theirs is not here."""

    @property
    def all(self) -> tuple[Task, ...]:
        """All of them, those of the suite last."""
        return self.named + self.of_suite


def names_of(tasks: str | Sequence[str]) -> list[str]:
    """The names, whether in one text with commas or in several; each stands once."""
    texts = [tasks] if isinstance(tasks, str) else tasks
    return list(dict.fromkeys(name.strip() for text in texts for name in text.split(",") if name.strip()))


def wanted(tasks: Iterable[str], suite: str | None, samples: int | None) -> Wanted:
    """The tasks of these names and of this suite.

    Args:
        tasks: Names, with or without shots, and paths of TOML files.
        suite: The name of one of `puna.evaluate.suites`; None is none.
        samples: Texts for each document where tasks draw several; None is each task's own number.

    Raises:
        EvaluateError: There is no such task, file or suite, or nothing is asked for.
    """
    named: dict[str, Task] = {}
    for task in (task for name in tasks for task in _named(name, samples)):
        # The id is what results and documents lie under, so one would take the place of the other.
        if (other := named.setdefault(task.id, task)).data != task.data:
            raise EvaluateError(f"{task.id} is in {other.data} and in {task.data}", hint="rename one of the two")
    ids = () if suite is None else find_suite(suite).tasks
    of_suite = {task.id: task for id in ids for task in _named(id, samples)}
    if not named and suite is None:
        raise EvaluateError(
            "nothing is asked for",
            hint="name tasks or a suite: --tasks harness/hellaswag, --suite llama; `puna evaluate --list` names all",
        )
    others = tuple(task for task in of_suite.values() if task.id not in named)
    pairs = find_suite(suite).instead if suite is not None else {}
    instead = {task.id: other for task in others if task.id in pairs for other in _named(pairs[task.id], samples)}
    return Wanted(named=tuple(named.values()), of_suite=others, instead=instead)


def _named(name: str, samples: int | None) -> list[Task]:
    found = read_tasks(user_path(name)) if is_task_file(name) else [find_task(name)]
    return found if samples is None else [task.with_samples(samples) for task in found]


def opener(data_dir: Path | None) -> OpenSplit:
    """Opens the data of benchmarks, and of users' own tasks beside their files.

    Args:
        data_dir: A directory with the data of benchmarks; None is what the environment says.

    Raises:
        EvaluateError: The directory is not there.
    """
    if data_dir is not None and not data_dir.is_dir():
        raise EvaluateError(f"{data_dir}: is not a directory, expected one with the data of benchmarks")

    def open_named(name: str, split: str) -> Rows:
        if is_task_file(name):
            return FileSplit(path=Path(name).parent / split, read=read_rows)
        return open_split(name, split, data_dir=data_dir)

    return open_named
