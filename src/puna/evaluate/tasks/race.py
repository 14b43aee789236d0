"""RACE: reading comprehension of middle and high schools."""

from puna.evaluate.task import Task

TASKS: tuple[Task, ...] = ()
