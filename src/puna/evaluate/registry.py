"""Tasks by their names, those that packages add included."""

from collections.abc import Iterator
from importlib import import_module

from puna.core.errors import EvaluateError
from puna.core.plugins import load_plugins
from puna.evaluate.task import Task

GROUP = "puna.tasks"
"""The group of entry points by which packages add tasks: each names a `Task`."""

FAMILIES = (
    "common_sense", "closed_book", "race", "math_problems", "grade_school", "code", "mmlu", "toxicity", "bias",
    "truthful_qa", "olmes", "truthful_answers", "superglue", "last_word", "foundry", "core_metric", "gold",
)  # fmt: skip
"""The modules of `puna.evaluate.tasks`."""


def tasks() -> dict[str, Task]:
    """All tasks by id without shots, Puna's own first.

    Raises:
        UserError: A package's task cannot be used.
        EvaluateError: It has an id that is taken.
    """
    found: dict[str, Task] = {}
    for task in (*_own(), *load_plugins(GROUP, Task).values()):
        if (key := _key(task)) in found:
            raise EvaluateError(f"{GROUP}: two tasks are called {key!r}")
        found[key] = task
    return found


def find_task(name: str) -> Task:
    """The task that `protocol/name` names with its own number of shots, or `protocol/name@shots` with another.

    Raises:
        EvaluateError: There is none, or the shots are not a number, or the task cannot have that many.
    """
    key, at, shots = name.partition("@")
    known = tasks()
    if key not in known:
        raise EvaluateError(f"{name!r} is not a task", hint=_near(key, known))
    if not at:
        return known[key]
    if not (shots.isascii() and shots.isdecimal() and len(shots) < 6):
        raise EvaluateError(f"{name!r}: shots is {shots!r}, but must be a whole number, as in {key}@5")
    return _with_shots(known[key], int(shots))


def is_outdated(id: str, protocol_version: int, task_version: int) -> bool:
    """Whether a result is of another version of a task than the one that would be run now; other tasks never are.

    Args:
        id: Of the result: `llama/mmlu@5`.
        protocol_version: By which it was made.
        task_version: By which it was made.

    Raises:
        UserError: As `tasks`.
    """
    now = tasks().get(id.partition("@")[0])
    return now is not None and (now.protocol.version, now.version) != (protocol_version, task_version)


def _with_shots(task: Task, shots: int) -> Task:
    if shots == task.shots:
        return task
    if task.pick == "own":
        raise EvaluateError(f"{_key(task)}: its prompt has {task.shots} solved examples of its own, not {shots}")
    if not task.shot_split and shots:
        raise EvaluateError(f"{_key(task)}: is asked without solved examples, so {shots} of them cannot be had")
    return task.with_shots(shots)


def _own() -> Iterator[Task]:
    for family in FAMILIES:
        yield from import_module(f"puna.evaluate.tasks.{family}").TASKS


def _key(task: Task) -> str:
    return task.id.partition("@")[0]


def _near(key: str, known: dict[str, Task]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(key, known, n=3) or sorted(name for name in known if name.endswith("/" + key))
    return f"did you mean {', '.join(close)}?" if close else "`puna evaluate --list` names all"
