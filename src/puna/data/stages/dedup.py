"""The stages of deduplication for a recipe."""

from collections.abc import Sequence
from pathlib import Path

from puna.config.data import DataConfig
from puna.data.document import NEAR
from puna.data.stages.components import component_stages
from puna.data.stages.duplicates import Cleaned, Contained, Exact, Keys, Near, Shared, read_task
from puna.data.stages.similar import Checked, similar_stages
from puna.data.tasks.task import Task

DuplicatesTask = Exact | Checked | Contained
"""A task that has found documents to drop, each with one that stays."""


def duplicate_stages(
    work: Path, data: DataConfig, cleaned: Sequence[Cleaned]
) -> tuple[list[list[Task]], list[DuplicatesTask]]:
    """The stages in order, and the tasks with the documents to drop, in the order in which their reasons count."""
    dedup, parts = data.dedup, range(data.partitions)
    keys = [Keys(work=work, cleaned=task) for task in cleaned if _is_compared(task, data)]
    if not keys:
        return [], []
    exact = [Exact(work=work, keys=tuple(keys), partition=part) for part in parts] if dedup.exact != "none" else []
    near_keys, contained_keys = _of(keys, dedup.near.sources), _of(keys, dedup.contained.sources)
    near = [Near(work=work, keys=near_keys, partition=part) for part in parts] if near_keys else []
    shared = [Shared(work=work, keys=contained_keys, partition=part) for part in parts] if contained_keys else []
    rounds, components = component_stages(near, NEAR) if near else ([], [])
    members, checked = similar_stages(near_keys, components, dedup.near)
    gone = (*exact, *checked)
    contained = [
        Contained(work=work, counted=tuple(shared), gone=gone, partition=part) for part in (parts if shared else ())
    ]
    stages: list[list[Task]] = [
        [*keys], [*exact], [*near], [*shared], *rounds, [*components], [*members], [*checked], [*contained],
    ]  # fmt: skip
    return [stage for stage in stages if stage], [*exact, *checked, *contained]


def _is_compared(task: Cleaned, data: DataConfig) -> bool:
    name = read_task(task).name
    dedup = data.dedup
    return dedup.exact != "none" or name in dedup.near.sources or name in dedup.contained.sources


def _of(keys: list[Keys], sources: list[str]) -> tuple[Keys, ...]:
    return tuple(task for task in keys if read_task(task.cleaned).name in sources)
