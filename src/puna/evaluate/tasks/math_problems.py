"""MATH: competition problems with a boxed answer."""

from puna.evaluate.task import Task

TASKS: tuple[Task, ...] = ()
