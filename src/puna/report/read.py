"""What a run left on the disk, read for its report; only JSON, JSON lines and TOML, never a tensor."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from puna.core.errors import DataError
from puna.core.layout import RunDir
from puna.core.records import read_record


@dataclass(frozen=True)
class RunRecords:
    """Everything that the report shows."""

    name: str
    record: dict[str, Any]
    """The training's record."""
    train: list[dict[str, Any]]
    """Metrics of logged steps, by step."""
    validations: list[dict[str, Any]]
    samples: list[dict[str, Any]]
    card: dict[str, Any] | None
    """The data card."""
    exports: dict[str, dict[str, Any]]
    """The equivalence record of each export, by format."""
    recipe: str
    """The resolved recipe as TOML."""


def read_run(run: RunDir) -> RunRecords:
    """The records of a finished run.

    Raises:
        DataError: There is no finished run, or a file of it is damaged.
    """
    record = read_record(run.record)
    if record is None:
        what = "is not finished" if run.metrics.exists() else "holds no run"
        raise DataError(
            f"{run.root}: {what}, so there is nothing to report",
            hint="`puna train RECIPE --resume` finishes a run; `puna run demo` makes one",
        )
    lines = _read_metrics(run.metrics)
    exports = {}
    for path in sorted(run.exports.glob("*/equivalence.json")):
        proof = read_record(path)
        if proof is not None:
            exports[path.parent.name] = proof
    return RunRecords(
        name=record["config"]["name"],
        record=record,
        train=_by_step(lines, "train"),
        validations=_by_step(lines, "validation"),
        samples=[line for line in lines if line["kind"] == "sample"],
        card=_read_json(run.data_card) if run.data_card.exists() else None,
        exports=exports,
        recipe=run.config.read_text(encoding="utf-8") if run.config.exists() else "",
    )


def _read_metrics(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    lines = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            line = json.loads(text)
            lines.append(line | {"kind": line["kind"], "step": line["step"]})
        except (ValueError, KeyError, TypeError):
            raise DataError(f"{path}: line {number} is no line of metrics") from None
    return lines


def _by_step(lines: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """The lines of a kind in the order of their steps; a later line of the same step wins."""
    latest = {(line["step"], line.get("final", False)): line for line in lines if line["kind"] == kind}
    return [latest[key] for key in sorted(latest)]


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise DataError(f"{path}: is damaged") from None
