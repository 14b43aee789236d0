"""CrowS-Pairs and WinoGender."""

from puna.evaluate.task import Task

TASKS: tuple[Task, ...] = ()
