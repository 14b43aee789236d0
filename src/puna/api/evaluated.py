"""What is evaluated: a model ready to answer, with all that tells it from others, and where its results go."""

import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from puna.api.endpoint import is_endpoint
from puna.api.place import own_name
from puna.core.console import progress
from puna.core.files import sha256_file, sha256_json
from puna.core.layout import EvaluationDir, RunDir
from puna.core.records import read_record
from puna.core.reference import run_of
from puna.core.schema.train_state import is_checkpoint, read_header

if TYPE_CHECKING:
    from torch import Tensor

    from puna.api.language_model import LanguageModel
    from puna.api.recipes import PathLike
    from puna.evaluate.run import Processes
    from puna.evaluate.series import Subject

_LARGE = 1 << 30
"""Bytes of weights from which on their reading is shown."""
_OWN_FORMATS = ("puna", "puna-checkpoint")
"""Those in which a run writes its weights."""


def subject_of(model: "LanguageModel | PathLike", options: Mapping[str, Any], processes: "Processes") -> "Subject":
    """A model as what is evaluated, loaded on this process.

    Args:
        model: The model, or what `load` takes.
        options: Of `load`.
        processes: Share the documents; each has a device of its own.

    Raises:
        UserError: As of `load`; or the model has no tokenizer.
    """
    from puna.api.language_model import LanguageModel
    from puna.api.loading import load

    if isinstance(model, LanguageModel):
        return _subject(model, model.path, None)
    if options.get("device") == "cuda" and processes.size > 1:
        options = {**options, "device": f"cuda:{os.environ.get('LOCAL_RANK', '0')}"}
    return _subject(load(model, **options), model, options.get("weights"))


def directory_of(subject: "Subject", named: "LanguageModel | PathLike", name: str | None) -> EvaluationDir:
    """Where the results of a model go if the user names no directory.

    Args:
        subject: The model.
        named: What the user called it.
        name: The last part of the path; None is the step of a run's moment, or else the model's name.
    """
    last = subject.model.title.replace("/", "-") if is_endpoint(named) else subject.model.title
    if subject.run is not None:
        return EvaluationDir(subject.run.evaluations / (name or f"step-{subject.model.step:08d}"))
    return EvaluationDir(Path("evaluations") / (name or last))


def _subject(model: "LanguageModel", named: "PathLike", weights: str | None) -> "Subject":
    from puna.core.schema.evaluation import EngineUsed, EvaluatedModel
    from puna.evaluate.backends.local import ROWS, LocalBackend
    from puna.evaluate.series import Subject
    from puna.infer.engine import Engine
    from puna.plan.count import parameters

    run, step, tokens = _of_run(model.path)
    # A run's moment has one name here, whichever the user has typed.
    path = str(named) if run is None else f"{run}@step-{step}"
    weights_sha256, title = _weights_sha256(model), own_name(run or named)
    if model.adapter:  # what a run's moment says with an adapter is not the moment's
        opened = model.adapters[model.adapter]
        weights_sha256 = sha256_json({"weights": weights_sha256, "adapter": opened.sha256})
        title, path = f"{title}+{_adapter_name(opened.directory)}", f"{path} + {opened.directory}"
        run, step, tokens = None, None, None
    engine = Engine(model.runner, model.tokenizer, max_rows=ROWS, drafter=model.drafter)
    return Subject(
        backend=LocalBackend(engine, model.tokenizer, model.adapter),
        model=EvaluatedModel(
            path=path, title=title, step=step,
            tokens=tokens, weights_sha256=weights_sha256, tokenizer_sha256=model.tokenizer.sha256,
            parameters=parameters(model.config).total,
        ),
        engine=EngineUsed(title=model.runner.title, exact=model.runner.exact, weights=weights),
        run=run,
    )  # fmt: skip


def _adapter_name(directory: Path) -> str:
    """What an adapter is called after: its directory, or the run that left it there."""
    place = Path(os.path.abspath(directory))
    return place.parent.name if RunDir(place.parent).adapter == place else place.name


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

    Of Puna's own formats the decoder and its tensors are hashed, as a finished run has the same weights in its model
    and in its last checkpoint, in files that differ.
    """
    checkpoint = model.checkpoint
    if checkpoint.format in _OWN_FORMATS:
        tensors = {name: stored.n_bytes for name, stored in sorted(checkpoint.stored.items())}
        hashes = _hashes(tensors, lambda name: _tensor_sha256(checkpoint.tensor(name)))
        return sha256_json({"config": checkpoint.config.model_dump(mode="json"), "tensors": hashes})
    files = {file.name: file for file in sorted(model.files)}
    sizes = {name: file.stat().st_size for name, file in files.items()}
    return sha256_json(_hashes(sizes, lambda name: sha256_file(files[name])))


def _hashes(sizes: Mapping[str, int], sha256_of: Callable[[str], str]) -> dict[str, str]:
    """The hashes of several things by name; progress is shown where they are many bytes."""
    total = sum(sizes.values())
    hashes: dict[str, str] = {}
    with progress("hash the weights", total, "bytes") if total > _LARGE else nullcontext() as advance:
        for name, size in sizes.items():
            hashes[name] = sha256_of(name)
            if advance is not None:
                advance(size)
    return hashes


def _tensor_sha256(tensor: "Tensor") -> str:
    """The hash of a tensor's type, shape and numbers."""
    import torch

    numbers = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data
    return sha256_json([str(tensor.dtype), list(tensor.shape), sha256(numbers).hexdigest()])
