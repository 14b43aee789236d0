"""A run that goes on beyond the length that it was planned with, in place.

Its recipe says the learning rate of every step, those of before included (`puna.train.lengthen` has the rules), so
resuming stays exact, and a run of that recipe from the beginning ends with the same bits.

The newest checkpoint is where it goes on; a run whose rate stays until its cooldown (`wsd`) goes back to the newest one
from before the cooldown, if there is one. Every checkpoint up to there gets the longer recipe, those after it go. The
finished model stays where it is until the longer run has ended.
"""

import itertools
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from puna.config.commands import new_run_from, train_command
from puna.config.load import save_recipe
from puna.config.paths import beside
from puna.config.recipe import Recipe, Schedule
from puna.core.console import say
from puna.core.errors import CheckpointError, TrainError
from puna.core.files import discard, sha256_json
from puna.core.layout import RunDir
from puna.core.records import read_record
from puna.core.schema.lineage import Parent
from puna.core.schema.train_state import TrainState, list_checkpoints, read_header
from puna.train.lengthen import active_part, describe_rates, parse_length, planned_longer, shared_rates, with_phase
from puna.train.restate import restate
from puna.train.resume import changes, check_data, check_recipe, saved_recipe


@dataclass(frozen=True, kw_only=True)
class Extension:
    """What a run becomes, and from where it goes on."""

    recipe: Recipe
    """The recipe of the longer run."""
    step: int
    """The checkpoint that it goes on from."""
    parent: Parent | None
    """The run as it was; None where it is being extended like this already."""

    def apply(self, run: RunDir, fingerprint: str) -> None:
        """Make the run's checkpoints those of the longer run; a crash at any moment leaves one that can be extended.

        Args:
            run: The run.
            fingerprint: Of its data.

        Raises:
            CheckpointError: The checkpoint has gone, is damaged, or is of other data.
            StorageError: The disk is full.
        """
        if self.parent is None:
            say(f"{run}: is being extended to {self.recipe.train.tokens} tokens already, and goes on")
            return
        checkpoints = list_checkpoints(run)
        if self.step not in dict(checkpoints):
            raise CheckpointError(f"{run}: the checkpoint of step {self.step} is not there any more")
        source = dict(checkpoints)[self.step]
        check_data(read_header(source)[0].data_fingerprint, fingerprint, source)
        # The newest one has the run's past; a crash in here may have left longer recipes in those before it.
        lineage = [*read_header(checkpoints[-1][1])[0].lineage, self.parent]
        say(
            f"{run}: goes on from step {self.step} to step {self.recipe.total_steps}; "
            f"{describe_rates(self.recipe, self.step)}"
        )
        # The one that the run goes on from is the last: until then it is what it was.
        for step, path in checkpoints:
            with suppress(*([CheckpointError] if step < self.step else [])):
                if step <= self.step:
                    state, hashes = read_header(path)
                    state.recipe, state.lineage = beside(self.recipe.model_dump(exclude_none=True), run.root), lineage
                    restate(path, path, state, hashes)
        for step, path in reversed(checkpoints):
            if step > self.step:
                discard(path)
        # From here on `--resume` goes on with the longer run.
        save_recipe(self.recipe, run.config)


def plan_extension(run: RunDir, recipe: Recipe, amount: str, schedule: Schedule | None) -> Extension:
    """What a run is to become; nothing is written.

    Args:
        run: A run that has checkpoints, finished or not.
        recipe: Its recipe; length and phases are taken from the run, whatever this one says.
        amount: The new length, as `parse_length` reads it. The same amount, given again before the longer run has
            ended, makes it no longer.
        schedule: Of the learning rate from here on; None goes on with the run's.

    Raises:
        CheckpointError: There is no checkpoint, or the recipe is another one.
        TrainError: The amount is not one, or is not more than the run has.
    """
    checkpoints = dict(list_checkpoints(run))
    if not checkpoints:
        raise CheckpointError(
            f"{run}: has no checkpoint that it could go on from",
            hint=_begin_as_long(run, recipe, amount),
        )
    step = max(checkpoints)
    state, _ = read_header(checkpoints[step])
    trained = saved_recipe(state, checkpoints[step])
    if recipe.optim.phases and recipe.optim.phases != trained.optim.phases:
        raise TrainError(
            f"{run}: has other optim.phases than the recipe, and --extend writes the next one itself",
            hint="--schedule says how the learning rate goes on",
        )
    same = _with_length_of(recipe, trained)
    check_recipe(state.recipe, same, run, f"{checkpoints[step]}: was saved")
    length, batch = trained.train.tokens, trained.train.batch_tokens
    shorter = _length_before(run, state)
    tokens = parse_length(amount, shorter or length, batch)
    if tokens == length and shorter and schedule in (None, active_part(trained, trained.total_steps).schedule):
        return Extension(recipe=same, step=step, parent=None)
    if tokens // batch <= trained.total_steps:
        has = "already" if step >= trained.total_steps else f"as its length, of which {step * batch} are done"
        raise TrainError(
            f"--extend {amount}: makes {tokens} tokens, and {run} has {length} {has}",
            hint="1.5x and 300M are the new length in all, +100M is what comes on top",
        )
    step, longer = longer_from(checkpoints, same, tokens, schedule)
    parent = Parent(
        how="extended", run=trained.name, place=str(run), step=step, tokens=step * batch,
        weights=sha256_json(read_header(checkpoints[step])[1]), changes=changes(state.recipe, longer, run),
        optimizer="kept",
    )  # fmt: skip
    return Extension(recipe=longer, step=step, parent=parent)


def _begin_as_long(run: RunDir, recipe: Recipe, amount: str) -> str:
    """The hint for a run that has no checkpoint: a new run of that length, or with the model's weights."""
    if run.has_model:
        return (
            f"`{train_command(recipe, *new_run_from(recipe, run, run.root))}` begins a new run with its model's weights"
        )
    tokens = parse_length(amount, recipe.train.tokens, recipe.train.batch_tokens)
    return f"`{train_command(recipe, f'train.tokens={tokens}')}` begins a run of this length"


def longer_from(
    checkpoints: dict[int, Path], recipe: Recipe, tokens: int, schedule: Schedule | None
) -> tuple[int, Recipe]:
    """The checkpoint to go on from, and the recipe of the longer run.

    Args:
        checkpoints: Those that there are, by their steps.
        recipe: What they were made with.
        tokens: The new length.
        schedule: Of the learning rate from here on; None goes on with the recipe's.
    """
    newest = max(checkpoints)
    part = active_part(recipe, newest)
    last = part is (recipe.optim.phases or [recipe.optim])[-1] and part.until_tokens is None
    if last and part.schedule in ("constant", "wsd") and schedule in (None, part.schedule):
        longer = planned_longer(recipe, tokens)
        shared = shared_rates(recipe, longer, newest)
        if before := [step for step in checkpoints if step <= shared]:
            return max(before), longer
    return newest, with_phase(recipe, newest, tokens, schedule)


def _with_length_of(recipe: Recipe, trained: Recipe) -> Recipe:
    """The recipe with the length and the phases of the one that a run was trained with."""
    optim = {"phases": trained.optim.phases, "until_tokens": trained.optim.until_tokens}
    return recipe.model_copy(
        update={
            "train": recipe.train.model_copy(update={"tokens": trained.train.tokens}),
            "optim": recipe.optim.model_copy(update=optim),
        }
    )


def _length_before(run: RunDir, state: TrainState) -> int | None:
    """The tokens that a run had before extensions that have not come to their end; None where there are none such.

    Relative lengths count from there, so that a command that is given again means the same length.
    """
    record = read_record(run.record)
    ended = len(record["results"].get("lineage", [])) if record is not None else 0
    under_way = list(itertools.takewhile(lambda parent: parent.how == "extended", reversed(state.lineage[ended:])))
    if not under_way:
        return None
    key = "train.tokens: "
    change = next(line for line in under_way[-1].changes if line.startswith(key))
    return int(json.loads(change.removeprefix(key).partition(" -> ")[0]))
