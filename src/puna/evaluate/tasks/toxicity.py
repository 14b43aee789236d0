"""RealToxicityPrompts: what a model writes after prompts."""

from puna.evaluate.task import Task

TASKS: tuple[Task, ...] = ()
