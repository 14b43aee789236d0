"""The stages from raw text to a report, joined by files: each reads what the one before it has written.

A stage is finished when its record exists and was made with the recipe's present values. A finished stage is skipped;
one that was made with other values is refused, unless it may be replaced.
"""

import contextlib
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from puna.api.recipes import PathLike, as_recipe, data_dir, data_source, run_dir
from puna.core.console import muted, say
from puna.core.errors import DataError
from puna.core.layout import DataDir, RunDir
from puna.core.records import read_record, result_of
from puna.core.user_path import user_path

if TYPE_CHECKING:
    from puna.config.recipe import Recipe, Schedule
    from puna.data.tasks.executors import Executor
    from puna.model.llama import Llama
    from puna.tokenizer.tokenizer import Tokenizer


def build_data(
    recipe: "Recipe | PathLike",
    out: PathLike | None = None,
    *,
    force: bool = False,
    executor: "Executor" = "local",
    workers: int | None = None,
    partition: str = "",
    time: str = "24:00:00",
    setup: str = "",
) -> DataDir:
    """Read the sources, clean and deduplicate, train the tokenizer, write token shards and a data card.

    What is there already, made with the recipe's values, is kept. It may be interrupted, even killed, and called again.

    Args:
        recipe: A recipe, its name or its path.
        out: Where to write; None is `data/` and the recipe's name.
        force: Replace what was built with other values; delete a finished build with the recipe's own, and build again.
        executor: Where tasks run: `local`, `ray` (RAY_ADDRESS or a new one here) or `slurm`, which only submits them.
        workers: Tasks at one time; None takes all cores.
        partition: Slurm: the cluster's partition.
        time: Slurm: longest time of a job.
        setup: Slurm: shell commands that a job begins with, such as loading modules.

    Returns:
        The build's directory.

    Raises:
        ConfigError: There is no such recipe, or problems in its values.
        DataError: Something was built with other values and `force` is false; a source is missing or damaged.
        TokenizerError: The text does not allow such a tokenizer.
        StorageError: The disk is full or not writable.
    """
    from puna.data.stages.build import Execution
    from puna.data.stages.build import build_data as build
    from puna.data.tasks.executors import EXECUTORS

    if executor not in EXECUTORS:
        raise DataError(f"--executor {executor}: is none of {', '.join(EXECUTORS)}")
    resolved = as_recipe(recipe, for_data=True)
    directory = data_dir(out, resolved)
    execution = Execution(executor=executor, workers=workers, partition=partition, time=time, setup=setup)
    build(resolved, directory, force=force, execution=execution)
    return directory


def train_tokenizer(recipe: "Recipe | PathLike", out: PathLike | None = None, *, force: bool = False) -> "Tokenizer":
    """Train the recipe's tokenizer on its training documents, which are built first where they are missing.

    Args:
        recipe: A recipe, its name or its path.
        out: The data build that it belongs to; None is `data/` and the recipe's name.
        force: Replace what was made with other values, and train the tokenizer again.

    Returns:
        The tokenizer; its files lie in the build's `tokenizer/`.

    Raises:
        ConfigError: There is no such recipe, or problems in its values.
        DataError: Something was built with other values and `force` is false; a source is missing or damaged.
        TokenizerError: The text does not allow such a tokenizer.
        StorageError: The disk is full or not writable.
    """
    from puna.data.stages.build import train_tokenizer as build
    from puna.tokenizer.load import load_tokenizer

    resolved = as_recipe(recipe, for_data=True)
    directory = data_dir(out, resolved)
    build(resolved, directory, force=force)
    return load_tokenizer(directory.tokenizer)


def train(
    recipe: "Recipe | PathLike | None" = None,
    data: PathLike | None = None,
    run: PathLike | None = None,
    *,
    resume: bool = False,
    force: bool = False,
    stop_at: int | None = None,
    extend: str | int | None = None,
    schedule: "Schedule | None" = None,
    branch_from: PathLike | None = None,
    init_from: PathLike | None = None,
    optimizer: Literal["fresh", "keep"] | None = None,
) -> RunDir:
    """Pre-train the recipe's model on its data build, on as many devices as torchrun started processes.

    Ctrl-C, SIGTERM and SIGHUP save the state first; `resume=True` then ends with the same weights, bit for bit.

    Args:
        recipe: A recipe, its name or its path; or the directory of a run, whose recipe is meant, and which is the run.
            None takes the recipe of the run that `branch_from` names.
        data: The data build, also `s3://BUCKET/PATH`; None is `data/` and the recipe's name.
        run: Where checkpoints, metrics and the model go; None is `runs/` and the recipe's name, and of a branch that
            would be its parent's directory the parent's with `-from-STEP`.
        resume: Go on from the newest checkpoint, if there is one; a finished run stays as it is.
        force: Delete the run that is there, with its checkpoints, model and exports, and start again.
        stop_at: Save and return after this many steps of the run; None trains to its end.
        extend: Make the run longer, and go on with it, finished or not: `"1.5x"` and `"300M"` tokens are the new length
            in all, `"+100M"` comes on top.
        schedule: Of the learning rate from there on: `cosine`, `linear` (to zero), `wsd` or `constant`; None goes on
            with the run's own. For `extend` and `branch_from`.
        branch_from: Begin a new run at a moment of another one, `RUN@step-400`, with its weights, the state of its
            optimizer and its place in the data; what the recipe changes holds from there on.
        init_from: Begin with the weights of a run, of a moment of one, or of a model in any format or on the hub, and
            with its shape, whatever [model] the recipe has; `train.init_from` in a recipe leaves a [model] that is
            there as it is. Schedule and order of the data begin again.
        optimizer: Of `init_from`: `keep` takes the state that the optimizer has in the checkpoint; None is the recipe's
            `train.init_optimizer`, which is `fresh`.

    Returns:
        The run's directory; `puna.load` reads its model.

    Raises:
        ConfigError: There is no such recipe, or problems in its values.
        DataError: The data build is missing, damaged, or was made with other values.
        CheckpointError: The directory holds another run, or its checkpoint is damaged.
        TrainError: The settings cannot work, memory ran out, or the loss stopped being finite.
        FormatError: What it is to begin with is not a model that Puna reads.
        OtherProcessError: Another process of the run has raised one of these.
        Interrupted: A signal came, and the state is saved; not a `UserError`, like `KeyboardInterrupt`.
        StorageError: The disk is full or not writable.
        EvaluateError: A benchmark of [evaluation] does not exist, generates texts, or its data is not here or damaged.
    """
    from puna.api.start import find_start

    amount = None if extend is None else str(extend)
    # Every process looks; the main one tells.
    with muted(os.environ.get("RANK", "0") != "0"):
        start = find_start(
            recipe, run, resume=resume, force=force, extend=amount, schedule=schedule, branch_from=branch_from,
            init_from=init_from, optimizer=optimizer,
        )  # fmt: skip
    resolved, directory, initial = start.recipe, start.run, start.initial
    build = data_source(data, resolved)
    check_build(resolved, build)
    if initial is not None:
        initial.check_tokenizer(build)
    # Hints about the run are commands that name its places, too.
    typed = {
        "--data-dir": None if build == data_dir(None, resolved) else data,
        "--run-dir": None if directory == run_dir(None, resolved) else directory if branch_from is not None else run,
    }
    for option, place in typed.items():
        resolved = resolved.typed_with(option, place)
    # Only now, so that what is amiss with the data is told where torch is not installed, and without waiting for it.
    from puna.api.evaluator import evaluator_of
    from puna.infer.plain import generate_text
    from puna.train.job import carry_out
    from puna.train.pretrain import Pretraining

    samples = resolved.samples

    def sample(model: "Llama", tokenizer: "Tokenizer", prompt: str, seed: int) -> str:
        return generate_text(
            model, tokenizer, prompt, max_tokens=samples.max_tokens, temperature=samples.temperature,
            top_p=samples.top_p, seed=seed,
        )  # fmt: skip

    job = Pretraining(resolved, build, sample, None if initial is None else initial.other)
    carry_out(
        job, directory, resume=resume, force=force, evaluator=evaluator_of(resolved), stop_at=stop_at, start=start.state
    )
    return directory


def report(run: PathLike) -> Path:
    """Write one page about a run that works offline: data, curves, samples, speed, energy, exports, lineage.

    The run may be unfinished, even at work: the page then says how far it is, and shows what is known by now.

    Args:
        run: The run's directory, or a moment of the run such as `runs/demo@step-400`.

    Returns:
        The page, `report.html` in the run; for a moment `report-step-400.html`.

    Raises:
        DataError: There is no run, or a file of it is damaged.
        CheckpointError: The run has no such moment, or the state of its checkpoint is damaged.
        StorageError: The disk is full or not writable.
    """
    from puna.core.reference import find_moment
    from puna.core.schema.train_state import is_checkpoint
    from puna.report.page import write_report

    directory = user_path(run)
    # A run without an @ is meant as it is now, not as its newest checkpoint is.
    moment = None if directory.is_dir() and not is_checkpoint(directory) else find_moment(run)
    page = write_report(moment.run if moment else RunDir(directory), moment)
    say(f"report: {page}")
    return page


def run(recipe: "Recipe | PathLike", data: PathLike | None = None, run: PathLike | None = None) -> RunDir:
    """All stages: data, tokenizer, training, export to Hugging Face, report; and tuning, where the recipe has it.

    What is finished is skipped.

    It can be interrupted anywhere, even killed, and called again.

    Args:
        recipe: A recipe, its name or its path.
        data: The data build's directory; None is `data/` and the recipe's name.
        run: The run's directory; None is `runs/` and the recipe's name.

    Returns:
        The run's directory.

    Raises:
        UserError: What each of the stages raises.
    """
    from puna.api.models import export
    from puna.api.start import pre_training
    from puna.train.place import check_place

    resolved = pre_training(as_recipe(recipe))
    directory = run_dir(run, resolved)
    check_place(resolved, directory)  # before the data are built, which takes longest
    build = build_data(resolved, data)
    train(resolved, build, directory, resume=True)
    exported = directory.exports / "hf"
    if _exported_from(directory, exported):
        say(f"{exported}: exported already")
    else:
        export(directory, "hf", force=True)
    if resolved.chat_recipe:
        _learn_to_chat(resolved, directory)
    report(directory)
    say(f"try: {next_command(directory, resolved)}")
    return directory


def _learn_to_chat(recipe: "Recipe", run: RunDir) -> None:
    """Tune the finished model by the recipe's `chat_recipe`, with a report of its own.

    What was tuned from other weights, before the run was made longer or trained again, is made again.

    Raises:
        UserError: What `puna.finetune` raises.
    """
    from puna.api.finetune import finetune
    from puna.api.recipes import load
    from puna.core.outdated import chat_is_outdated

    tuning = load(recipe.chat_recipe).recipe
    if again := chat_is_outdated(run):
        say(f"{run.chat}: was tuned from other weights than {run.model} has now, and is made again")
    tuned = finetune(
        tuning, run=run.chat, model=run.model, build=run.chat.root / "data", resume=not again, force=again
    )  # fmt: skip
    report(tuned)


def check_build(recipe: "Recipe", data: DataDir) -> None:
    """Refuse a data build that is not there as the recipe wants it.

    Raises:
        DataError: It is missing or damaged, or was made with other values; or the recipe has no data.
    """
    from puna.config.commands import data_build_command
    from puna.config.explain import differences
    from puna.config.paths import with_known_places

    if not recipe.mixture:
        raise DataError(
            f"recipe {recipe.name!r} names no data to train on",
            hint="write a recipe that extends it, with [data.sources] and [mixture]",
        )
    record = read_record(data.record)
    if record is None:
        alike = _built_alike(recipe, data)
        hint = f"`{data_build_command(recipe, data)}` makes it"
        if alike is not None:
            hint = f"{alike} was built with the same values: `--data-dir {alike}` trains on it; {hint}"
        raise DataError(f"{data}: no finished data build is here", hint=hint)
    if record["stage"] != "data":
        raise DataError(f"{data}: holds {result_of(record)}, not a data build", hint="give another --data-dir")
    wanted = recipe.data.model_dump()
    if changed := differences(with_known_places(record["config"], wanted, data.root, "data"), wanted):
        raise DataError(
            f"{data}: was built with other values: {'; '.join(changed)}",
            hint=f"give these values back, or build the data again: `{data_build_command(recipe, data, '--force')}`",
        )


def _built_alike(recipe: "Recipe", data: DataDir) -> DataDir | None:
    """A finished build beside this one that has the recipe's data: `name=other` names the build, too."""
    from puna.config.explain import differences
    from puna.config.paths import with_known_places

    wanted = recipe.data.model_dump()
    for path in sorted(data.root.parent.glob("*/record.json")):
        build = DataDir(path.parent)
        with contextlib.suppress(DataError, OSError):
            record, tokenizer = read_record(build.record), read_record(build.tokenizer / "record.json")
            if record is None or record["stage"] != "data" or tokenizer is None:
                continue
            sizes = tokenizer["config"].get("vocab_size"), recipe.model.vocab_size
            if sizes[0] == sizes[1] and not differences(
                with_known_places(record["config"], wanted, build.root, "data"), wanted
            ):
                return build
    return None


def _exported_from(run: RunDir, exported: Path) -> bool:
    """Whether an export exists and was made from the run's present model."""
    proof = read_record(exported / "equivalence.json")
    model = read_record(run.model / "record.json")
    return proof is not None and model is not None and proof["inputs"] == model["outputs"]


def next_command(run: RunDir, recipe: "Recipe") -> str:
    """What makes the model of a run write or chat, as a shell takes it, whatever is in the prompt and in the path."""
    if run.chat.has_model:
        return shlex.join(["puna", "chat", str(run)])
    prompt = (recipe.samples.prompts or ["Once"])[0]
    return shlex.join(["puna", "generate", str(run), prompt])
