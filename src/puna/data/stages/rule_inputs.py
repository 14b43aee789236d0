"""Inputs of rules besides their thresholds: models, compared by content, and the table of evaluation sets."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from puna.config.data import DataConfig
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
    sets: tuple[tuple[str, str], ...]
    """Paths and SHA-256 of the files."""

    @property
    def made_from(self) -> Any:
        """The rule and the files' hashes."""
        return [self.data.rules.decontaminate.model_dump(), [digest for _, digest in self.sets]]

    @property
    def input_bytes(self) -> int:
        """The size of the files."""
        return sum(Path(path).stat().st_size for path, _ in self.sets)

    def work_on(self, progress: Progress) -> Counts:
        """Read all sets and write the table."""
        from puna.data.models.ngram_table import NgramTable

        table = NgramTable.build(self.data.rules.decontaminate)
        table.save(self.path)
        return {"sets": table.sets}

    @property
    def path(self) -> Path:
        """The directory of the table."""
        return self.directory / "table"


def evaluation_table(work: Path, data: DataConfig) -> Table | None:
    """The task that writes the table, if a source asks for it.

    Raises:
        DataError: A set has no files.
    """
    if not any(DECONTAMINATE in source.clean for source in data.sources.values()):
        return None
    from puna.data.models.evaluation_rows import find

    sets = data.rules.decontaminate.sets
    paths = [path for name in sorted(sets) for path in find(name, sets[name])]
    return Table(work=work, data=data, sets=tuple((str(path), sha256_file(path)) for path in paths))


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
