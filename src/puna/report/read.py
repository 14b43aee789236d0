"""Reads a run's files for its report; only JSON, JSON lines and TOML, never a tensor."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from puna.core.errors import DataError
from puna.core.files import read_text
from puna.core.layout import RunDir
from puna.core.records import read_record
from puna.core.schema.card import DataCard
from puna.core.schema.export import ExportRecord, ExportResults
from puna.core.schema.lines import (
    LINES,
    CheckpointLine,
    Line,
    RollbackLine,
    SampleLine,
    SkippedLine,
    TrainLine,
    ValidationLine,
)
from puna.core.schema.part import parse
from puna.core.schema.run import TrainRecord

Known = TypeVar("Known", bound=Line)


@dataclass(frozen=True)
class RunRecords:
    """Everything that the report shows; lists are in the order of the steps."""

    record: TrainRecord
    train: list[TrainLine]
    validations: list[ValidationLine]
    samples: list[SampleLine]
    skipped: list[SkippedLine]
    rollbacks: list[RollbackLine]
    checkpoints: list[CheckpointLine]
    card: DataCard | None
    """The data card; None if the run's directory has none."""
    exports: dict[str, ExportResults]
    """The figures of the proof of each export, by format."""
    recipe: str
    """The resolved recipe as TOML; empty if the run's directory has none."""


def read_run(run: RunDir) -> RunRecords:
    """The records of a finished run.

    Raises:
        DataError: There is no finished run, or a file of it is damaged or of another stage.
    """
    record = read_record(run.record)
    if record is None:
        what = "is not finished" if run.metrics.exists() else "holds no run"
        raise DataError(
            f"{run.root}: {what}, so there is nothing to report",
            hint="`puna train RECIPE --resume` finishes a run; `puna run demo` makes one",
        )
    if record["stage"] != "train":
        raise DataError(
            f"{run.root}: its record is of the stage {record['stage']!r}, not of a training run",
            hint="give a run's directory such as runs/demo",
        )
    lines = _read_metrics(run.metrics)
    exports = {}
    for path in sorted(run.exports.glob("*/equivalence.json")):
        exports[path.parent.name] = _read_export(path)
    return RunRecords(
        record=parse(TrainRecord, record, str(run.record)),
        train=_latest(lines, TrainLine, lambda line: line.step),
        validations=_latest(lines, ValidationLine, lambda line: (line.step, line.final)),
        samples=_latest(lines, SampleLine, lambda line: (line.step, line.prompt)),
        skipped=_latest(lines, SkippedLine, lambda line: line.step),
        rollbacks=_latest(lines, RollbackLine, lambda line: (line.step, line.from_step)),
        checkpoints=_latest(lines, CheckpointLine, lambda line: line.step),
        card=parse(DataCard, _read_json(run.data_card), str(run.data_card)) if run.data_card.exists() else None,
        exports=exports,
        recipe=read_text(run.config, DataError) if run.config.exists() else "",
    )


def _read_export(path: Path) -> ExportResults:
    """The figures of an export's proof."""
    try:
        return parse(ExportRecord, read_record(path), str(path)).results
    except DataError as error:
        hint = "an older version of Puna may have written it: export again with --force, or delete its directory"
        raise DataError(error.message, hint=hint) from None


def _latest(lines: list[Line], kind: type[Known], key: Callable[[Known], Any]) -> list[Known]:
    """The lines of a kind in the order of their steps; of lines with the same key, the last one written."""
    return sorted({key(line): line for line in lines if isinstance(line, kind)}.values(), key=lambda line: line.step)


def _read_metrics(path: Path) -> list[Line]:
    """The lines of the kinds that the report shows; other kinds are skipped."""
    if not path.exists():
        return []
    lines = []
    for number, text in enumerate(read_text(path, DataError).split("\n"), 1):
        if not text.strip():
            continue
        where = f"{path}: line {number}"
        try:
            line = json.loads(text)
            kind = line["kind"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise DataError(f"{where} is not a line of metrics") from None
        if isinstance(kind, str) and kind in LINES:
            lines.append(parse(LINES[kind], line, where))
    return lines


def _read_json(path: Path) -> Any:
    try:
        return json.loads(read_text(path, DataError))
    except (ValueError, RecursionError):
        raise DataError(f"{path}: is not JSON") from None
