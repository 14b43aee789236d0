"""Closed-book questions: NaturalQuestions and TriviaQA."""

from puna.evaluate.task import Task

TASKS: tuple[Task, ...] = ()
