"""GSM8k: problems of primary school with a number as answer."""

from puna.evaluate.task import Task

TASKS: tuple[Task, ...] = ()
