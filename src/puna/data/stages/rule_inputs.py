"""Inputs of rules besides their thresholds: models, compared by content, and the table of evaluation sets."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from puna.config.data import DataConfig
from puna.core.console import warn
from puna.core.files import sha256_file
from puna.data.stages.cleaning import make_rule
from puna.data.table import DECONTAMINATE, LINES
from puna.data.tasks.counts import Counts
from puna.data.tasks.task import Progress, Task


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Table(Task):
    """Writes the table of the n-grams of all evaluation sets, which every task of the next stage maps into memory."""

    stage: ClassVar[str] = "evaluation-sets"

    data: DataConfig
    sets: tuple[tuple[str, str, str], ...]
    """Paths and SHA-256 of the files."""

    @property
    def made_from(self) -> Any:
        """The rule and the files' hashes."""
        return [self.data.rules.decontaminate.model_dump(), [digest for _, _, digest in self.sets]]

    @property
    def input_bytes(self) -> int:
        """The size of the files."""
        return sum(Path(path).stat().st_size for _, path, _ in self.sets)

    def work_on(self, progress: Progress) -> Counts:
        """Read all sets and write the table."""
        from puna.data.models.ngram_table import NgramTable

        table = NgramTable.build(self.data.rules.decontaminate)
        table.save(self.path)
        hashes: dict[str, dict[str, str]] = {name: {} for name in table.sets}
        for name, path, digest in self.sets:
            hashes[name][Path(path).name] = digest
        return {"sets": {name: figures | {"sha256": hashes[name]} for name, figures in table.sets.items()}}

    @property
    def path(self) -> Path:
        """The directory of the table."""
        return self.directory / "table"


def evaluation_table(work: Path, data: DataConfig) -> Table | None:
    """The task that writes the table, if a source asks for it.

    Raises:
        DataError: A set has no files, or a benchmark is not known or not here.
    """
    if not any(DECONTAMINATE in source.clean for source in data.sources.values()):
        return None
    from puna.data.models.evaluation_sets import not_compared, set_files

    sets = data.rules.decontaminate.sets
    files = [(name, path) for name, paths in set_files(sets).items() for path in paths]
    if missing := not_compared(sets):
        warn(f"decontaminate: {len(missing)} benchmarks are not on this machine and not compared: {', '.join(missing)}")
    return Table(work=work, data=data, sets=tuple((name, str(path), sha256_file(path)) for name, path in files))


def model_hashes(data: DataConfig) -> dict[str, list[str]]:
    """The SHA-256 of the files that each rule of the recipe reads, by rule.

    Raises:
        DataError: A model is missing or not valid.
    """
    names = {name for source in data.sources.values() for name in source.clean} - {LINES, DECONTAMINATE}
    hashes: dict[str, list[str]] = {}
    for name in sorted(names):
        files = getattr(make_rule(name, data, None), "files", [])
        if files:
            hashes[name] = [sha256_file(path) for path in files]
    return hashes
