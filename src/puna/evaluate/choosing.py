"""Which of the tasks that a user asks for can be done here, and why others cannot."""

from collections.abc import Iterable, Mapping

from puna.core.errors import EvaluateError
from puna.evaluate.documents import OpenSplit
from puna.evaluate.task import Task

NOT_ALLOWED = "its answers are programs that are run, which --allow-code-execution permits"


def obstacles(
    named: Iterable[Task], of_suite: Iterable[Task], open_split: OpenSplit, *, allow_code: bool
) -> dict[str, str]:
    """Why tasks cannot be done here: by the ids of those that cannot, a sentence each.

    Args:
        named: Tasks that have to be done, as a user has named them.
        of_suite: Others, which may be left out.
        open_split: Opens the data.
        allow_code: Whether programs that a model writes may be run.

    Raises:
        EvaluateError: One that is named cannot be done, or none at all can; all reasons are named. Or data is damaged.
    """
    must, may = list(named), list(of_suite)
    wrong = _reasons(must, open_split, allow_code)
    if wrong:
        raise EvaluateError(by_reason(wrong))
    found = _reasons(may, open_split, allow_code)
    if len(found) == len(must) + len(may):
        raise EvaluateError(f"nothing of this can be done here:\n{by_reason(found)}")
    return found


def stand_ins(
    missing: Iterable[str], instead: Mapping[str, Task], open_split: OpenSplit, *, allow_code: bool
) -> list[Task]:
    """The tasks that stand in for those that cannot be done here, as far as they can.

    Args:
        missing: Ids of tasks that cannot be done.
        instead: What stands in for a task, by its id.
        open_split: Opens the data.
        allow_code: Whether programs that a model writes may be run.

    Raises:
        EvaluateError: Data is damaged.
    """
    others = [instead[id] for id in missing if id in instead]
    return [task for task in others if not obstacle(task, open_split, allow_code=allow_code)]


def _reasons(tasks: Iterable[Task], open_split: OpenSplit, allow_code: bool) -> dict[str, str]:
    return {task.id: reason for task in tasks if (reason := obstacle(task, open_split, allow_code=allow_code))}


def by_reason(reasons: Mapping[str, str]) -> str:
    """A line for each reason, with the ids of its tasks."""
    ids: dict[str, list[str]] = {}
    for id, reason in reasons.items():
        ids.setdefault(reason, []).append(id)
    return "\n".join(f"{', '.join(of_it)}: {reason}" for reason, of_it in ids.items())


def obstacle(task: Task, open_split: OpenSplit, *, allow_code: bool) -> str:
    """Why a task cannot be done here, as a sentence; empty where it can.

    Args:
        task: What is asked for.
        open_split: Opens the data.
        allow_code: Whether programs that a model writes may be run.

    Raises:
        EvaluateError: Data is damaged.
    """
    if task.needs_code and not allow_code:
        return NOT_ALLOWED
    splits = [task.split]
    if task.shots and task.pick != "own" and task.shot_split:
        splits.append(task.shot_split)
    return next((missing for split in splits if (missing := open_split(task.data, split).missing)), "")
