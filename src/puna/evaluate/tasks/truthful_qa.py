"""TruthfulQA: multiple choice, and answers that judges look at."""

from puna.evaluate.task import Task

TASKS: tuple[Task, ...] = ()
