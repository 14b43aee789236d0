"""Tasks of LLM-foundry, in its own files' form."""

from puna.evaluate.task import Task

TASKS: tuple[Task, ...] = ()
