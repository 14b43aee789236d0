"""LAMBADA: the last word of a passage."""

from puna.evaluate.task import Task

TASKS: tuple[Task, ...] = ()
