"""MMLU by subject, category and all."""

from puna.evaluate.task import Task

TASKS: tuple[Task, ...] = ()
