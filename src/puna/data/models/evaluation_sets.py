"""The evaluation sets that a recipe names: by files, or as benchmarks that `puna evaluate` knows."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from puna.benchmarks.files import open_split, what_is_missing
from puna.benchmarks.manifest import SetEntry, SplitEntry, find_set, manifest
from puna.config.paths import BENCHMARK
from puna.core.errors import DataError, EvaluateError
from puna.data.models.evaluation_rows import find

ALL = BENCHMARK + "*"
"""Every benchmark whose data is on this machine, but ready prompts."""
_TRAINING = "train"
"""The split that is there to be learned from, where a set has another one too."""
_NOT_ASKED = ("prompt", "statistics")
"""Splits that show how to answer, or are there to be counted by."""
_REQUESTS = "olmes_"
"""How sets of ready prompts are called, which mostly say again what other sets say, and hold solved examples of
training splits: they are compared where a recipe names one."""


def set_files(sets: Mapping[str, str]) -> dict[str, list[Path]]:
    """The files of each evaluation set, in alphabetical order of the sets.

    Args:
        sets: `rules.decontaminate.sets` of a recipe.

    Raises:
        DataError: A set has no files, one is of a kind without rows, or a benchmark is not known, not here or damaged.
    """
    found: dict[str, list[Path]] = {}
    for name, pattern in sets.items():
        if pattern == ALL:
            found |= {entry.name: files for entry, files in _all_here(name) if entry.name not in sets}
        elif pattern.startswith(BENCHMARK):
            found[name] = _files(name, [*_asked(_entry(name, pattern.removeprefix(BENCHMARK)))])
        else:
            found[name] = find(name, pattern)
    return {name: found[name] for name in sorted(found)}


def not_compared(sets: Mapping[str, str]) -> list[str]:
    """The benchmarks that `benchmark:*` leaves out because their data is not on this machine, in alphabetical order."""
    if ALL not in sets.values():
        return []
    here = {entry.name for entry, _ in _all_here("")}
    return [entry.name for entry in _all() if entry.name not in here and entry.name not in sets]


def _all() -> Iterator[SetEntry]:
    entries = (entry for entry in manifest().values() if not entry.name.startswith(_REQUESTS))
    yield from (entry for entry in entries if any(_asked(entry)))


def _all_here(name: str) -> Iterator[tuple[SetEntry, list[Path]]]:
    for entry in _all():
        if splits := [split for split in _asked(entry) if not what_is_missing(entry.name, split.name)]:
            yield entry, _files(name, splits)


def _asked(entry: SetEntry) -> Iterator[SplitEntry]:
    """The splits with which models are asked; of RealToxicityPrompts that is its only one, which is called `train`."""
    not_asked = (*_NOT_ASKED, _TRAINING) if len(entry.splits) > 1 else _NOT_ASKED
    yield from (split for split in entry.splits.values() if not split.name.startswith(not_asked))


def _entry(name: str, benchmark: str) -> SetEntry:
    try:
        return find_set(benchmark)
    except EvaluateError as error:
        raise DataError(f"rules.decontaminate.sets.{name}: {error.message}", hint=error.hint) from None


def _files(name: str, splits: list[SplitEntry]) -> list[Path]:
    """The canonical files; each has been proven."""
    if not splits:
        raise DataError(f"rules.decontaminate.sets.{name}: the benchmark has no rows with which models are asked")
    files = []
    for split in splits:
        try:
            opened = open_split(split.set.name, split.name)
        except EvaluateError as error:
            raise DataError(f"rules.decontaminate.sets.{name}: {error.message}", hint=error.hint) from None
        if opened.path is None:
            raise DataError(f"rules.decontaminate.sets.{name}: {opened.missing}")
        files.append(opened.path)
    return files
