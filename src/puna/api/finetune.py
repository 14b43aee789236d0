"""`puna finetune`: instruction tuning of any model on examples."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from puna.api.recipes import PathLike, as_recipe, data_source, run_dir, run_of
from puna.core.console import muted
from puna.core.errors import ConfigError, TrainError
from puna.core.layout import DataDir, RunDir

if TYPE_CHECKING:
    from puna.config.recipe import Recipe
    from puna.finetune.begin import Base


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be tuned, on what, and where it goes."""

    recipe: "Recipe"
    """With the shape of the model that it begins with."""
    run: RunDir
    data: DataDir
    base: "Base"
    kept: bool
    """Whether the examples that the run has will do where the data build is gone."""


def finetune(
    recipe: "Recipe | PathLike",
    data: PathLike | Sequence[PathLike] | None = None,
    run: PathLike | None = None,
    *,
    model: PathLike | None = None,
    build: PathLike | None = None,
    resume: bool = False,
    force: bool = False,
    stop_at: int | None = None,
) -> RunDir:
    """Tune a model on examples: conversations, tasks, or pairs of answers; on as many devices as torchrun started.

    The data are built first where that is not done. Ctrl-C, SIGTERM and SIGHUP save the state; `resume=True` then ends
    with the same weights, bit for bit.

    Args:
        recipe: A recipe with a section [finetune], its name or its path; or the directory of a run, whose recipe is
            meant, and which is the run.
        data: Files of examples, for a recipe that names no sources: JSON lines, a JSON list, Parquet, Arrow, or the
            directory of a Hugging Face dataset.
        run: Where checkpoints, metrics and the model go; None is `runs/` and the recipe's name.
        model: What is tuned: a run, a moment of one, or a model in any format or on the hub; None is the recipe's
            `train.init_from`.
        build: The data build; None is `data/` and the recipe's name, for `data` with a hash of its files behind it.
        resume: Go on from the newest checkpoint, if there is one; a finished run stays as it is.
        force: Delete the run that is there, with its checkpoints, model and exports, and start again.
        stop_at: Save and return after this many steps of the run; None trains to its end.

    Returns:
        The run's directory; `puna.load` reads its model, which answers in turns.

    Raises:
        ConfigError: There is no such recipe, problems in its values, or it is one of pre-training.
        DataError: A source is missing or damaged, or the build was made with other values.
        CheckpointError: The directory holds another run, or its checkpoint is damaged.
        TrainError: The settings cannot work, memory ran out, or the loss stopped being finite.
        FormatError: What is to be tuned is not a model that Puna reads.
        OtherProcessError: Another process of the run has raised one of these.
        Interrupted: A signal came, and the state is saved; not a `UserError`, like `KeyboardInterrupt`.
        StorageError: The disk is full or not writable.
        EvaluateError: A benchmark of [evaluation] does not exist, generates texts, or its data is not here or damaged.
    """
    # Every process looks; the main one tells.
    with muted(os.environ.get("RANK", "0") != "0"):
        wanted = _wanted(recipe, data, run, model=model, build=build, resume=resume)
    from puna.api.evaluator import evaluator_of
    from puna.finetune.tuning import Tuning
    from puna.train.job import carry_out

    job = Tuning(wanted.recipe, wanted.data, wanted.base, kept=wanted.kept)
    carry_out(
        job, wanted.run, resume=resume, force=force, evaluator=evaluator_of(wanted.recipe), stop_at=stop_at
    )  # fmt: skip
    return wanted.run


def show_batch(
    recipe: "Recipe | PathLike",
    data: PathLike | Sequence[PathLike] | None = None,
    run: PathLike | None = None,
    *,
    model: PathLike | None = None,
    build: PathLike | None = None,
    resume: bool = False,
    number: int = 0,
    sequences: int | None = None,
    colours: bool = False,
) -> str:
    """A batch as the model would be given it: tokens with their weight in the loss, documents and positions.

    Nothing is trained. The examples are written into the run's directory, where the run finds them; beside a run that
    has begun with other settings they are written to a temporary directory.

    Args:
        recipe: As `puna.finetune` takes it, like the next four; the directory of a run means that run.
        data: Files of examples.
        run: The run's directory.
        model: What would be tuned.
        build: The data build.
        resume: Whether the run that is there is meant, with its examples and its template.
        number: The number of the batch, counted from 0.
        sequences: How many of its sequences are shown; None is all.
        colours: Whether tokens are coloured for a terminal; else each stretch has its weight before it.

    Returns:
        Text of many lines.

    Raises:
        UserError: What `puna.finetune` raises before its first step.
    """
    own = run_of(recipe, goes_on=resume) if isinstance(recipe, str | os.PathLike) else None
    wanted = _wanted(recipe, data, run, model=model, build=build, resume=resume or own is not None)
    from puna.finetune.tuning import Tuning

    return Tuning(wanted.recipe, wanted.data, wanted.base, kept=wanted.kept).shown(
        wanted.run, number=number, sequences=sequences, colours=colours
    )


def _wanted(
    recipe: "Recipe | PathLike",
    data: PathLike | Sequence[PathLike] | None,
    run: PathLike | None,
    *,
    model: PathLike | None,
    build: PathLike | None,
    resume: bool,
) -> Wanted:
    """What is to be tuned; nothing is written.

    Raises:
        UserError: Something of it is wrong or missing.
    """
    from puna.api.given import files_of, with_files
    from puna.api.tuned_model import base_of
    from puna.config.commands import train_command

    resolved = as_recipe(recipe)
    own = run_of(recipe, goes_on=resume) if isinstance(recipe, str | os.PathLike) else None
    if resolved.finetune is None:
        raise ConfigError(
            [f"recipe {resolved.name!r} has no section [finetune], so it is one of pre-training"],
            hint=f"`{train_command(resolved)}` trains it; `puna recipes` lists those that tune a model",
        )
    directory = own if run is None and own is not None else run_dir(run, resolved)
    files = files_of(data)
    typed = [("--model", model), *(("--data", file) for file in files), ("--data-dir", build), ("--run-dir", run)]
    for option, place in typed:
        resolved = resolved.typed_with(option, place)
    if files:
        resolved, build = with_files(resolved, files, build)
    if not resolved.mixture:
        raise ConfigError(
            [f"recipe {resolved.name!r} names no examples to learn from"],
            hint="name files of them: `--data talks.jsonl`; or write a recipe that extends it, with [data.sources] "
            "and [mixture]",
        )
    if model is not None:
        update = {"train": resolved.train.model_copy(update={"init_from": os.fspath(model)})}
        resolved = resolved.model_copy(update=update)
    if resolved.train.init_from is None:
        raise TrainError(
            "which model is to be tuned was not said",
            hint="name a run, a model in any format, or one on the hub: `--model runs/demo`",
        )
    tuned, base = base_of(resolved, directory, forced=model is not None, resume=resume)
    return Wanted(recipe=tuned, run=directory, data=data_source(build, resolved), base=base, kept=resume and not files)
