"""Reads a run's files for its report, whether it is finished or not; only JSON, JSON lines and TOML, never a tensor."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import tomli_w
from pydantic import ValidationError

from puna.config.paths import here
from puna.config.recipe import ModelConfig
from puna.config.toml import read_toml
from puna.core.errors import CheckpointError, ConfigError, DataError
from puna.core.files import read_text
from puna.core.layout import RunDir
from puna.core.outdated import chat_is_outdated
from puna.core.records import read_record
from puna.core.reference import Moment
from puna.core.schema.card import DataCard
from puna.core.schema.export import ExportRecord, ExportResults
from puna.core.schema.lineage import Parent
from puna.core.schema.lines import (
    LINES,
    CheckpointLine,
    EvaluationLine,
    Line,
    PreferenceLine,
    RollbackLine,
    SampleLine,
    SessionLine,
    SkippedLine,
    TrainLine,
    ValidationLine,
)
from puna.core.schema.part import parse
from puna.core.schema.run import TrainedRecipe, TrainRecord
from puna.core.schema.train_state import TrainState, list_checkpoints, read_header
from puna.core.schema.tuning import TuningRecord
from puna.plan.count import parameters
from puna.report.evaluated import Benchmark, read_evaluations

Known = TypeVar("Known", bound=Line)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is that has no record yet, by its metrics and its newest checkpoint."""

    step: int
    """Optimizer steps done."""
    parameters: int
    state: TrainState | None
    """That of the newest checkpoint; None before there is one."""
    is_moment: bool
    """Whether an earlier moment of the run is shown, which may be at work or finished by now."""
    finished_before: int | None
    """The step at which the run had been finished before it was extended."""


@dataclass(frozen=True, kw_only=True)
class RunRecords:
    """Everything that the report shows; lists are in the order of the steps."""

    run: RunDir
    config: TrainedRecipe
    record: TrainRecord | None
    """None while the run is not finished; then `progress` says how far it is."""
    progress: Progress | None
    sessions: list[SessionLine]
    """In the order in which they began; empty for a run of a version that did not write them down."""
    lineage: list[Parent]
    """What the run was extended, branched or continued from, oldest first."""
    train: list[TrainLine]
    validations: list[ValidationLine]
    preferences: list[PreferenceLine]
    """How pairs of answers were told apart; empty where the run learns from something else."""
    benchmarks: list[Benchmark]
    """How it does on each task that it was evaluated on."""
    samples: list[SampleLine]
    skipped: list[SkippedLine]
    rollbacks: list[RollbackLine]
    checkpoints: list[CheckpointLine]
    card: DataCard | None
    """The data card; None if the run's directory has none."""
    tuning: TuningRecord | None
    """What a run of instruction tuning learns from; None of other runs, and of older versions."""
    chat: "RunRecords | None"
    """The run inside of it, in which the model has learned to chat; None where there is none."""
    chat_outdated: bool
    """Whether that was tuned from other weights than the model has now."""
    exports: dict[str, ExportResults]
    """The figures of the proof of each export, by format."""
    outdated: list[str]
    """Names of the exports that were made of the run's model before it was made longer or trained again."""
    recipe: str
    """The resolved recipe as TOML, with paths from the working directory; empty if the run's directory has none."""

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.config.train.tokens // self.config.train.batch_tokens

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return self.record.results.steps if self.record else self.progress.step if self.progress else 0


def read_run(run: RunDir, moment: Moment | None = None) -> RunRecords:
    """The records of a run, finished or not, or of one of its moments.

    Raises:
        DataError: There is no run, or a file of it is damaged or of another stage.
        CheckpointError: The state of its checkpoint is damaged.
    """
    record, lines = _read_record(run), _read_metrics(run.metrics)
    if record is None and not lines and not list_checkpoints(run):
        raise DataError(f"{run.root}: holds no run, so there is nothing to report", hint="`puna run demo` makes one")
    recipe = _read_recipe(run)
    config = parse(TrainedRecipe, recipe, str(run.config)) if recipe else record.config if record else None
    if config is None:
        raise DataError(f"{run.config}: is missing, so nothing says what the run is", hint="copy the whole directory")
    if moment is not None and record is not None and moment.step == record.results.steps:
        moment = None
    progress = None
    total = config.train.tokens // config.train.batch_tokens
    if record is None or moment is not None or record.results.steps < total:
        # A run that is being extended has the record of its shorter self until it ends.
        progress = _progress(run, recipe, lines, moment, record)
        record = None
        lines = [line for line in lines if moment is None or _is_before(line, moment.step)]
    state = progress.state if progress else None
    proofs = {path.parent.name: _read_export(path) for path in sorted(run.exports.glob("*/equivalence.json"))}
    return RunRecords(
        run=run,
        config=record.config if record else config,
        record=record,
        progress=progress,
        sessions=[line for line in lines if isinstance(line, SessionLine)],
        lineage=record.results.lineage if record else state.lineage if state else [],
        train=_latest(lines, TrainLine, lambda line: line.step),
        validations=_latest(lines, ValidationLine, lambda line: (line.step, line.final)),
        preferences=_latest(lines, PreferenceLine, lambda line: (line.step, line.split, line.final)),
        benchmarks=read_evaluations(
            run,
            _latest(lines, EvaluationLine, lambda line: line.step),
            batch_tokens=config.train.batch_tokens,
            until=moment.step if moment else None,
        ),
        samples=_latest(lines, SampleLine, lambda line: (line.step, line.prompt)),
        skipped=_latest(lines, SkippedLine, lambda line: line.step),
        rollbacks=_latest(lines, RollbackLine, lambda line: (line.step, line.from_step)),
        checkpoints=_latest(lines, CheckpointLine, lambda line: line.step),
        card=parse(DataCard, _read_json(run.data_card), str(run.data_card)) if run.data_card.exists() else None,
        tuning=parse(TuningRecord, _read_json(run.tuning), str(run.tuning)) if run.tuning.exists() else None,
        chat=_read_chat(run.chat) if moment is None else None,
        chat_outdated=moment is None and chat_is_outdated(run),
        exports={name: proof.results for name, proof in proofs.items()},
        outdated=[name for name, proof in proofs.items() if record and _is_outdated(proof, record.outputs)],
        recipe=tomli_w.dumps(here(recipe, run.root)),
    )


def _read_record(run: RunDir) -> TrainRecord | None:
    record = read_record(run.record)
    if record is None:
        return None
    if record["stage"] != "train":
        raise DataError(
            f"{run.root}: its record is of the stage {record['stage']!r}, not of a training run",
            hint="give a run's directory such as runs/demo",
        )
    return parse(TrainRecord, record, str(run.record))


def _read_chat(run: RunDir) -> RunRecords | None:
    """The tuned run inside of a run, where one has begun."""
    begun = run.config.is_file() and run.metrics.is_file() and run.metrics.stat().st_size > 0
    return read_run(run) if begun else None


def _read_recipe(run: RunDir) -> dict[str, Any]:
    """The resolved recipe; empty if the run's directory has none."""
    if not run.config.exists():
        return {}
    try:
        return read_toml(run.config)
    except ConfigError as error:
        raise DataError(error.message, hint=error.hint) from None


def _progress(
    run: RunDir, recipe: dict[str, Any], lines: list[Line], moment: Moment | None, record: TrainRecord | None
) -> Progress:
    """How far the run is, or was at a moment."""
    state = read_header(moment.directory)[0] if moment else _newest_state(run)
    step = moment.step if moment else max((line.step for line in lines), default=state.step if state else 0)
    try:
        shape = ModelConfig.model_validate(recipe.get("model"))
    except ValidationError:
        raise DataError(f"{run.config}: [model] is missing or damaged") from None
    return Progress(
        step=step,
        parameters=parameters(shape).total,
        state=state,
        is_moment=moment is not None,
        finished_before=record.results.steps if record and moment is None else None,
    )


def _newest_state(run: RunDir) -> TrainState | None:
    """What the newest checkpoint says, without its tensors."""
    for _, directory in reversed(list_checkpoints(run)):
        try:
            return read_header(directory)[0]
        except CheckpointError:
            # A run at work deletes old checkpoints; one that is there and damaged is the user's to know.
            if directory.exists():
                raise
    return None


def _is_before(line: Line, step: int) -> bool:
    """Whether a line was written when a run came to a step; a session that began there came after."""
    if isinstance(line, SessionLine):
        return line.step < step or line.step == 0
    return line.step <= step and not (isinstance(line, ValidationLine | PreferenceLine) and line.final)


def _read_export(path: Path) -> ExportRecord:
    """The proof of an export; one that cannot be read is told with what to do."""
    try:
        return parse(ExportRecord, read_record(path), str(path))
    except DataError as error:
        hint = "an older version of Puna may have written it: export again with --force, or delete its directory"
        raise DataError(error.message, hint=hint) from None


def _is_outdated(proof: ExportRecord, model: dict[str, str]) -> bool:
    """Whether an export was made of other files than those of these SHA-256, by name; of a checkpoint one never is."""
    return proof.results.step is None and any(model.get(name, known) != known for name, known in proof.inputs.items())


def _latest(lines: list[Line], kind: type[Known], key: Callable[[Known], Any]) -> list[Known]:
    """The lines of a kind in the order of their steps; of lines with the same key, the last one written."""
    return sorted({key(line): line for line in lines if isinstance(line, kind)}.values(), key=lambda line: line.step)


def _read_metrics(path: Path) -> list[Line]:
    """The lines of the kinds that the report shows; other kinds are skipped.

    The last line is passed over where it does not end: a run at work is about to, or was killed.
    """
    if not path.exists():
        return []
    texts = read_text(path, DataError).split("\n")
    lines = []
    for number, text in enumerate(texts, 1):
        if not text.strip():
            continue
        where = f"{path}: line {number}"
        try:
            line = json.loads(text)
            kind = line["kind"]
        except (ValueError, KeyError, TypeError, RecursionError):
            if number == len(texts):
                continue
            raise DataError(f"{where} is not a line of metrics") from None
        if isinstance(kind, str) and kind in LINES:
            lines.append(parse(LINES[kind], line, where))
    return lines


def _read_json(path: Path) -> Any:
    try:
        return json.loads(read_text(path, DataError))
    except (ValueError, RecursionError):
        raise DataError(f"{path}: is not JSON") from None
