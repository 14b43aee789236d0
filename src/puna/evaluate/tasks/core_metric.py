"""The 22 tasks of the CORE metric."""

from puna.evaluate.task import Task

TASKS: tuple[Task, ...] = ()
