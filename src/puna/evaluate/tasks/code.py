"""HumanEval and MBPP: programs that are run."""

from puna.evaluate.task import Task

TASKS: tuple[Task, ...] = ()
