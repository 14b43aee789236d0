"""Inference and words in context: ANLI, CB, COPA, ReCoRD, RTE, WiC, WSC."""

from puna.evaluate.task import Task

TASKS: tuple[Task, ...] = ()
