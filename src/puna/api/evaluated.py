"""What is evaluated: a model ready to answer, with all that tells it from others, and where its results go."""

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from puna.core.console import progress
from puna.core.layout import EvaluationDir, RunDir
from puna.core.records import read_record
from puna.core.reference import run_of
from puna.core.schema.train_state import is_checkpoint, read_header

if TYPE_CHECKING:
    from puna.api.language_model import LanguageModel
    from puna.api.recipes import PathLike
    from puna.core.schema.evaluation import EngineUsed, EvaluatedModel
    from puna.evaluate.backend import Backend

_LARGE = 1 << 30
"""Bytes of weights from which on their reading is shown."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model that is evaluated."""

    backend: "Backend"
    model: "EvaluatedModel"
    engine: "EngineUsed"
    directory: EvaluationDir
    """Where its results go if the user names no other place."""


def subject_of(model: "LanguageModel", named: "PathLike", weights: str | None) -> Subject:
    """A loaded model as what is evaluated.

    Args:
        model: The model.
        named: What the user called it.
        weights: What its matrices were made; None is as they are stored.

    Raises:
        CheckpointError: It has no tokenizer, or its run's description is damaged.
    """
    from puna.api.place import own_name
    from puna.core.schema.evaluation import EngineUsed, EvaluatedModel
    from puna.evaluate.backends.local import LocalBackend
    from puna.plan.count import parameters

    run, step, tokens = _of_run(model.path)
    # A run's moment has its own directory, whichever of its names the user has typed.
    root = Path("evaluations") / own_name(named) if run is None else run.evaluations / f"step-{step:08d}"
    path = str(named) if run is None else f"{run}@step-{step}"
    return Subject(
        backend=LocalBackend(model.engine, model.tokenizer),
        model=EvaluatedModel(
            path=path, title=own_name(named), weights_sha256=_weights_sha256(model), step=step, tokens=tokens,
            tokenizer_sha256=model.tokenizer.sha256, parameters=parameters(model.config).total,
        ),
        engine=EngineUsed(title=model.runner.title, exact=model.runner.exact, weights=weights),
        directory=EvaluationDir(root),
    )  # fmt: skip


def _of_run(place: Path) -> tuple[RunDir | None, int | None, int | None]:
    """The run that a model's files lie in, and the optimizer steps and tokens behind them; None of other models."""
    if is_checkpoint(place):
        state, _ = read_header(place)
        run = run_of(place)
        batch = state.recipe.get("train", {}).get("batch_tokens")
        return run if run.config.is_file() else None, state.step, None if batch is None else state.step * batch
    run = RunDir(place.parent)
    record = read_record(run.record) if run.model == place and run.config.is_file() else None
    if record is None or record["stage"] != "train":
        return None, None, None
    return run, record["results"].get("steps"), record["results"].get("tokens")


def _weights_sha256(model: "LanguageModel") -> str:
    """One hash of a model: the same for the same files under another path.

    Puna's own records have the hashes of its files, with which they were compared when the model was loaded.
    """
    from puna.core.files import sha256_file, sha256_json
    from puna.model.directory import RECORD

    if is_checkpoint(model.path):
        return sha256_json(read_header(model.path)[1])
    if (record := read_record(model.path / RECORD)) is not None:
        return sha256_json(record["outputs"])
    files = sorted(model.files)
    total = sum(file.stat().st_size for file in files)
    hashes: dict[str, str] = {}
    with progress("hash the weights", total, "bytes") if total > _LARGE else nullcontext() as advance:
        for file in files:
            hashes[file.name] = sha256_file(file)
            if advance is not None:
                advance(file.stat().st_size)
    return sha256_json(hashes)
