"""Whether a run may start, may go on or is finished, and the checkpoint that it goes on from."""

import contextlib
import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from puna.config.commands import new_run_from, own_run_command, train_command
from puna.config.explain import differences
from puna.config.load import load_recipe
from puna.config.paths import here, with_known_places
from puna.config.recipe import Recipe
from puna.config.section import Section
from puna.config.toml import read_toml
from puna.core.console import warn
from puna.core.errors import CheckpointError, ConfigError
from puna.core.files import discard, remove, storage_errors
from puna.core.layout import RunDir
from puna.core.records import read_record
from puna.core.schema.train_state import TrainState, list_checkpoints, read_header
from puna.model.directory import resolve_model

MAY_CHANGE = (
    "description", "chat_recipe", "max_epochs", "train.log_every", "stability.", "validation.", "evaluation.",
    "samples.", "checkpoint.", "energy.", "metrics.",
)  # fmt: skip
"""Keys that change neither the data nor a weight; and two that may let a stopped run continue, `stability` and
`max_epochs`."""

FOLLOWS = "data.sources.examples.heldout_fraction"
"""The share that is held out of a user's examples follows from them: that they are others is said of the data."""

MAY_CHANGE_BITS = (
    "parallel.", "train.micro_batch_tokens", "train.loss_chunk_tokens", "train.compile", "train.recompute",
)  # fmt: skip
"""Keys that change how a step is computed but not its result: the weights stay equal to rounding, not bit for bit."""

_STOCHASTIC = "bf16-stochastic"
"""The precision whose weights and moments are bfloat16 alone."""


def is_finished(recipe: Recipe, run: RunDir, data_fingerprint: str) -> bool:
    """Whether the run has been trained to its end with this recipe on these data, and its model is there.

    Raises:
        CheckpointError: It is finished, but with a recipe or with data that made other weights.
    """
    record = read_record(run.record)
    if record is None:
        return False
    with contextlib.suppress(CheckpointError):  # a finished run does not need its checkpoints
        if (checkpoints := list_checkpoints(run)) and extended_since(record, read_header(checkpoints[-1][1])[0]):
            return False
    check_recipe(record["config"], recipe, run, f"{run.root}: is finished")
    trained_on = record["inputs"].get("data", "")
    check_data(trained_on, data_fingerprint, run.root, examples=recipe.finetune is not None)
    if recipe.finetune is not None and recipe.finetune.base != "as-it-is":
        return (run.adapter / "record.json").is_file()
    try:
        return resolve_model(run.root) == run.model
    except CheckpointError:
        return False


def extended_since(record: dict[str, Any], state: TrainState) -> bool:
    """Whether a run was extended after its record was written, so that the record is of the shorter run."""
    return len(state.lineage) > len(record["results"].get("lineage", []))


def saved_recipe(state: TrainState, checkpoint: Path) -> Recipe:
    """The recipe that a checkpoint was made with.

    Raises:
        CheckpointError: This version of Puna does not understand it.
    """
    try:
        return Recipe.model_validate(here(_with_newer_keys(state.recipe), checkpoint.parent.parent))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = ".".join(map(str, problem["loc"]))
        raise CheckpointError(
            f"{checkpoint}: its recipe is of another version of Puna: {key}: {problem['msg']}"
        ) from None


def check_room(run: RunDir, *, force: bool) -> bool:
    """Refuse a directory in which no new run can begin; returns whether there is one that has to go first.

    Raises:
        CheckpointError: There is a run already, finished or not, and `force` is false; or the directory holds other
            things than a run, which nothing here deletes.
    """
    existing = [path for path in (run.record, run.metrics, run.checkpoints, run.model, run.adapter) if path.exists()]
    if existing and not force:
        raise CheckpointError(
            f"{run.root}: holds a run already",
            hint="--resume goes on with it, --force deletes it and starts again, --run-dir chooses another directory",
        )
    if existing and not (run.config.is_file() and (run.metrics.is_file() or run.record.is_file())):
        raise CheckpointError(
            f"{run.root}: has {existing[0].name} but is not a run of Puna, so --force leaves it alone",
            hint="choose another --run-dir",
        )
    return bool(existing)


def begin(run: RunDir, *, force: bool) -> None:
    """Make room for a new run, and give it the examples that were written for it meanwhile.

    Raises:
        CheckpointError: As `check_room`.
    """
    # Examples that were written before a run began are those of any run with their settings, which are beside them.
    examples = [run.examples] if check_room(run, force=force) else []
    with storage_errors(run.root):
        # config.toml goes last: the rest of an interrupted deletion is still recognised as a run.
        for path in (run.record, run.metrics, *run.root.glob("report*.html")):
            remove(path)
        for path in (
            run.tensorboard, run.tokenizer, *examples, run.checkpoints, run.model, run.adapter, run.exports,
            run.evaluations, run.chat.root,
        ):  # fmt: skip
            discard(path)
        remove(run.config)
        if run.next_examples.is_dir() and not run.examples.is_dir():
            os.replace(run.next_examples, run.examples)


def newest(recipe: Recipe, run: RunDir) -> Path | None:
    """The newest checkpoint, or None where the run has none yet; half-written files of dead processes are deleted.

    Raises:
        CheckpointError: There is none, and the run was started with another recipe.
    """
    # The lock is ours: a file with a temporary name was left by a process that is dead, on this machine or another.
    for remains in run.checkpoints.glob(".tmp-*"):
        with contextlib.suppress(OSError):
            remove(remains)
    checkpoints = list_checkpoints(run)
    if checkpoints:
        return checkpoints[-1][1]
    if run.config.exists():
        # Without a checkpoint, only config.toml says what the run was.
        check_recipe(read_toml(run.config), recipe, run, f"{run.config}: is of a run")
    return None


def check_data(trained_on: str, present: str, path: Path, *, examples: bool = False) -> None:
    """Refuse data that are not those of the run.

    Args:
        trained_on: The fingerprint of the run's data.
        present: That of the data which are there.
        path: What was trained on the first ones.
        examples: Whether the run learns from examples, by a chat template.

    Raises:
        CheckpointError: Naming both fingerprints.
    """
    if trained_on != present:
        what = "examples, or with another chat template or tokenizer" if examples else "token shards"
        raise CheckpointError(
            f"{path}: was trained on other {what} (fingerprint {trained_on[:12]}, these have {present[:12]})",
            hint="build the data as they were, choose another --run-dir, or start again with --force",
        )


def check_recipe(saved: dict[str, Any], recipe: Recipe, run: RunDir, what: str) -> None:
    """Refuse a recipe that makes other weights, and warn of one that rounds them differently.

    Raises:
        CheckpointError: Naming every key that differs.
    """
    changed = [line for line in changes(saved, recipe, run) if not line.startswith((*MAY_CHANGE, FOLLOWS))]
    refused = [line for line in changed if _refuses(line)]
    if refused:
        raise CheckpointError(
            f"{what}, but with another recipe: {'; '.join(refused)}",
            hint=f"give these values back{_own_recipe(saved, recipe, run)}{_begin_another(recipe, run, refused)}, "
            f"choose another --run-dir, or start {run.root} again with --force",
        )
    if changed:
        warn(f"{what}; now {'; '.join(changed)}: weights will be equal to rounding, not bit for bit")


def changes(saved: dict[str, Any], recipe: Recipe, run: RunDir) -> list[str]:
    """What differs in a recipe from one that a run's state or record has: `optim.lr: 0.001 -> 0.0005`."""
    now = _with_length_of(saved, recipe).model_dump(exclude_none=True)
    return differences(with_known_places(_with_newer_keys(saved), now, run.root), now)


def _with_length_of(saved: dict[str, Any], recipe: Recipe) -> Recipe:
    """The recipe with the length and the warm-up of a saved one, where they follow from the number of examples.

    Equal settings make equal ones of equal data, and both are compared by themselves.
    """
    tuning = recipe.finetune
    follows = {
        ("train", "tokens"): tuning is not None and tuning.epochs is not None,
        ("optim", "warmup_steps"): tuning is not None and tuning.warmup_ratio is not None,
    }
    for (table, key), known in follows.items():
        if known and isinstance(before := saved.get(table, {}).get(key), int):
            section = getattr(recipe, table).model_copy(update={key: before})
            recipe = recipe.model_copy(update={table: section})
    return recipe


def _own_recipe(saved: dict[str, Any], recipe: Recipe, run: RunDir) -> str:
    """The words of a hint for going on with the recipe in the run's directory, which an extension has changed, say."""
    with contextlib.suppress(ConfigError):
        if not [line for line in changes(saved, load_recipe(str(run.config)).recipe, run) if _refuses(line)]:
            return f" (`{own_run_command(recipe, run, '--resume')}` takes those of the run)"
    return ""


def _begin_another(recipe: Recipe, run: RunDir, changed: list[str]) -> str:
    """The words of a hint for a new run with the changes that begins with this one's weights, where they fit it."""
    if not list_checkpoints(run) or any(line.startswith(("model.", "data.", "tokenizer.")) for line in changed):
        return ""
    return f", begin a new run from these weights with `{train_command(recipe, *new_run_from(recipe, run, run.root))}`"


def _refuses(line: str) -> bool:
    """Whether a run cannot go on with a change."""
    return not line.startswith((*MAY_CHANGE, FOLLOWS, *MAY_CHANGE_BITS))


def _with_newer_keys(saved: dict[str, Any]) -> dict[str, Any]:
    """A saved recipe, with defaults for the keys that did not exist when it was written."""
    defaults = {
        name: field.default.model_dump(exclude_none=True)
        for name, field in Recipe.model_fields.items()
        if isinstance(field.default, Section)
    }
    return saved | {name: table | saved[name] for name, table in defaults.items() if isinstance(saved.get(name), dict)}


def check_kind(checkpoint: Path, theirs: Recipe, ours: Recipe, hint: str) -> None:
    """Refuse the state of another kind of optimizer than a recipe has.

    Args:
        checkpoint: What has the state.
        theirs: The recipe that it was made with.
        ours: The recipe that is to go on with it.
        hint: What a user can do.

    Raises:
        CheckpointError: It is of another optimizer, or of weights that are kept otherwise.
    """
    names = theirs.optim.name, ours.optim.name
    precisions = theirs.train.precision, ours.train.precision
    for key, (before, now) in {"optim.name": names, "train.precision": precisions}.items():
        if before != now and (key == "optim.name" or _STOCHASTIC in (before, now)):
            raise CheckpointError(
                f"{checkpoint}: its optimizer's state is of another kind: {key} = {before!r}, not {now!r}", hint=hint
            )


def check_circumstances(made_by: dict[str, str], present: dict[str, str], path: Path) -> None:
    """Warn where the last bits of the steps to come cannot be those of an uninterrupted run."""
    noted = made_by.keys() & present.keys()
    changed = [f"{key} {made_by[key]} -> {present[key]}" for key in sorted(noted) if made_by[key] != present[key]]
    if changed:
        warn(f"{path}: was made elsewhere ({'; '.join(changed)}); weights will be equal to rounding, not bit for bit")
