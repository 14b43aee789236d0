"""Bits per byte of gold answers."""

from puna.evaluate.task import Task

TASKS: tuple[Task, ...] = ()
