"""Reads what a comparison needs of a run, finished or not: its recipe, metrics, card and record."""

import contextlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from puna.config.paths import here
from puna.config.recipe import EnergyConfig, ModelConfig, Recipe
from puna.config.toml import read_toml
from puna.core.errors import CheckpointError, DataError
from puna.core.files import read_text
from puna.core.layout import RunDir
from puna.core.metrics import read_metrics
from puna.core.records import read_record
from puna.core.reference import PathLike, find_moment, is_run
from puna.core.schema.card import DataCard
from puna.core.schema.lineage import Parent
from puna.core.schema.lines import (
    LINES,
    EvaluationLine,
    Line,
    PreferenceLine,
    SampleLine,
    SessionLine,
    TrainLine,
    ValidationLine,
)
from puna.core.schema.part import parse
from puna.core.schema.run import TrainRecord
from puna.core.schema.train_state import TrainState, list_checkpoints, read_header
from puna.core.schema.tuning import TuningRecord
from puna.core.user_path import user_path
from puna.plan.count import parameters
from puna.plan.hardware import WATTS_PER_CORE, find_gpu
from puna.report.comparison import ComparedRun, Comparison, Power, compared

Known = TypeVar("Known", bound=Line)

_CORES = re.compile(r", (\d+) cores?$")
"""The end of the name that training gives a processor."""


def read_comparison(places: Sequence[PathLike]) -> Comparison:
    """The comparison of two or more runs.

    Args:
        places: Directories of runs, or moments of runs such as `runs/demo@step-400`, which are compared as they were.

    Raises:
        DataError: There are fewer than two, one is given twice or is not a run, or a file of a run is damaged.
        CheckpointError: A run has no such moment.
        ConfigError: A run's recipe is damaged.
        StorageError: A path is empty or cannot be looked up.
    """
    if len(places) < 2:
        hint = f"`puna report {places[0]}` shows one run" if places else "such as `puna compare runs/one runs/two`"
        raise DataError("a comparison needs two runs or more", hint=hint)
    runs = [_read(str(user_path(place))) for place in places]
    seen: dict[tuple[Path, int, bool], str] = {}
    for place, (root, run) in zip(places, runs, strict=True):
        key = (root, run.step, run.finished)
        if key in seen:
            raise DataError(f"{place}: is the same as {seen[key]}")
        seen[key] = str(place)
    return compared(_named([run for _, run in runs]))


def can_be_compared(run: RunDir) -> bool:
    """Whether a directory is that of a training run that has come as far as to write something down."""
    return run.config.is_file() and is_run(run)


def _named(runs: list[ComparedRun]) -> list[ComparedRun]:
    """The runs under the last part of their paths, or under whole paths where two have the same."""
    names = [Path(run.place).name or str(Path(run.place).resolve().name) for run in runs]
    unique = len(set(names)) == len(names)
    return [replace(run, name=name if unique else run.place) for run, name in zip(runs, names, strict=True)]


def _read(place: str) -> tuple[Path, ComparedRun]:
    """The run's directory, resolved, and what is compared of it."""
    run, moment = RunDir(Path(place)), None
    if not can_be_compared(run):
        moment = find_moment(place)
        if moment is None:
            raise DataError(f"{place!r}: is not a training run", hint="give directories of runs, such as runs/demo")
        run = moment.run
    saved = read_toml(run.config) if moment is None else read_header(moment.directory)[0].recipe
    recipe = _resolved(here(saved, run.root))  # paths from here, so that a file has the same one in every run
    lines = list(_lines(run.metrics, None if moment is None else moment.step))
    record = _record(run)
    session = next((line for line in reversed(lines) if isinstance(line, SessionLine)), None)
    total_steps = _total_steps(recipe, place)
    step = max((line.step for line in lines), default=0) if moment is None else moment.step
    results = record.results if record else None
    # A run that is being extended has the record of its shorter self until it ends.
    if results is not None and (results.steps < total_steps or (moment is not None and step < results.steps)):
        results = None
    step = step if results is None else results.steps
    header = _newest_state(run) if moment is None else read_header(moment.directory)[0]
    card = parse(DataCard, _read_json(run.data_card), str(run.data_card)) if run.data_card.exists() else None
    tuning = parse(TuningRecord, _read_json(run.tuning), str(run.tuning)) if run.tuning.exists() else None
    heldout: list[Line] = [line for line in lines if isinstance(line, PreferenceLine) and line.split == "heldout"]
    return run.root.resolve(), ComparedRun(
        name=place,
        place=place,
        recipe=recipe,
        step=step,
        total_steps=total_steps,
        tokens=step * recipe["train"]["batch_tokens"],
        parameters=_parameters(recipe),
        train=_latest(lines, TrainLine),
        validations=_latest(lines, ValidationLine),
        samples={line.prompt: line.text for line in lines if isinstance(line, SampleLine)},
        results=results,
        tokenizer=_tokenizer(card, record, header),
        documents=card.build.documents_sha256 if card else "",
        device=record.results.device if record else session.device if session else "",
        power=_power(recipe, record, session),
        evaluations=_latest(lines, EvaluationLine),
        preferences=_latest(heldout, PreferenceLine),
        template=tuning.template_sha256 if tuning else "",
        ancestry=[_origin(parent) for parent in (results.lineage if results else header.lineage if header else [])],
    )


def _tokenizer(card: DataCard | None, record: TrainRecord | None, state: TrainState | None) -> str:
    """SHA-256 of a run's tokenizer, which the card of examples does not have; empty where nothing says it."""
    if card is not None and card.tokenizer is not None:
        return card.tokenizer.sha256
    if record is not None and "tokenizer" in record.inputs:
        return record.inputs["tokenizer"]
    return state.tokenizer if state is not None else ""


def _newest_state(run: RunDir) -> TrainState | None:
    """What the newest checkpoint says; a run at work may delete it meanwhile, then nothing is known."""
    with contextlib.suppress(CheckpointError):
        if checkpoints := list_checkpoints(run):
            return read_header(checkpoints[-1][1])[0]
    return None


def _origin(parent: Parent) -> str:
    """A sentence on a parent of the run."""
    at = "" if parent.step is None else f" at step {parent.step:,}"
    changes = f": {'; '.join(parent.changes)}" if parent.changes else ""
    return f"{parent.how} from {parent.place}{at}, optimizer {parent.optimizer}{changes}"


def _resolved(recipe: dict[str, Any]) -> dict[str, Any]:
    """The recipe with the defaults of keys that did not exist when it was saved; one of a newer version as it is."""
    try:
        return Recipe.model_validate(recipe).model_dump(exclude_none=True)
    except ValidationError:
        return recipe


def _record(run: RunDir) -> TrainRecord | None:
    """The run's record; None where it is not finished."""
    record = read_record(run.record)
    if record is None:
        return None
    if record["stage"] != "train":
        raise DataError(f"{run.root}: its record is of the stage {record['stage']!r}, not of a training run")
    return parse(TrainRecord, record, str(run.record))


def _total_steps(recipe: dict[str, Any], place: str) -> int:
    """Optimizer steps that the recipe asks for."""
    train = recipe.get("train", {})
    tokens, batch = train.get("tokens"), train.get("batch_tokens")
    if not (isinstance(tokens, int) and isinstance(batch, int) and batch > 0):
        raise DataError(f"{place}: its recipe does not say train.tokens and train.batch_tokens")
    return tokens // batch


def _parameters(recipe: dict[str, Any]) -> int | None:
    try:
        return parameters(ModelConfig.model_validate(recipe.get("model", {}))).total
    except ValidationError:
        return None  # of another version, whose shapes this one does not know


def _power(recipe: dict[str, Any], record: TrainRecord | None, session: SessionLine | None) -> Power | None:
    """The power that the record has, or the one that a record would have; None for a device of unknown power."""
    if record is not None:
        energy = record.results.energy
        return Power(energy.watts * (record.results.devices or 1), energy.pue, energy.carbon_intensity)
    if session is None:
        return None
    try:
        config = EnergyConfig.model_validate(recipe.get("energy", {}))
    except ValidationError:
        return None
    watts = config.device_watts or _watts(session.device)
    return None if watts is None else Power(watts * session.devices, config.pue, config.carbon_intensity)


def _watts(device: str) -> float | None:
    """The power of a device by its name: a known GPU's, or that of a processor's cores."""
    if (gpu := find_gpu(device)) is not None:
        return gpu.watts
    cores = _CORES.search(device)
    return None if cores is None else WATTS_PER_CORE * int(cores[1])


def _lines(path: Path, until: int | None) -> list[Line]:
    """The lines of the metrics, up to a step."""
    lines = []
    for number, value in enumerate(read_metrics(path), 1):
        kind = value.get("kind")
        if isinstance(kind, str) and kind in LINES and (until is None or value["step"] <= until):
            lines.append(parse(LINES[kind], value, f"{path}: line {number}"))
    return lines


def _latest(lines: list[Line], kind: type[Known]) -> list[Known]:
    """The lines of a kind in the order of their steps; of two with the same step and purpose, the last written."""
    found = {(line.step, getattr(line, "final", False)): line for line in lines if isinstance(line, kind)}
    return sorted(found.values(), key=lambda line: (line.step, getattr(line, "final", False)))


def _read_json(path: Path) -> Any:
    try:
        return json.loads(read_text(path, DataError))
    except (ValueError, RecursionError):
        raise DataError(f"{path}: is not JSON") from None
