"""Which of the tasks that a user asks for can be done here, and why others cannot."""

from collections.abc import Iterable

from puna.core.errors import EvaluateError
from puna.evaluate.documents import OpenSplit
from puna.evaluate.task import Task

NOT_ALLOWED = "its answers are programs that are run, which --allow-code-execution permits"


def obstacles(tasks: Iterable[Task], open_split: OpenSplit, *, allow_code: bool, demanded: bool) -> dict[str, str]:
    """Why tasks cannot be done here: by the ids of those that cannot, a sentence each.

    Args:
        tasks: What is asked for.
        open_split: Opens the data.
        allow_code: Whether programs that a model writes may be run.
        demanded: Whether every task has to be done, as where the user has named them; otherwise some may be left out.

    Raises:
        EvaluateError: One that is demanded cannot be done, or none can; all reasons are named. Or data is damaged.
    """
    wanted = list(tasks)
    found = {task.id: reason for task in wanted if (reason := obstacle(task, open_split, allow_code=allow_code))}
    if found and (demanded or len(found) == len(wanted)):
        ids: dict[str, list[str]] = {}
        for id, reason in found.items():
            ids.setdefault(reason, []).append(id)
        raise EvaluateError("\n".join(f"{', '.join(of_it)}: {reason}" for reason, of_it in ids.items()))
    return found


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
