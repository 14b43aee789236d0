"""A new run that goes on from a moment of another one, with its whole training state and at its place in the data.

The parent's checkpoint, under the branch's recipe and lineage, is the branch's first own checkpoint. So a branch needs
its parent no more, resumes like any run, and one that changes nothing ends with the bits of its parent.

Clocks and counts of the state go on, too: time, energy and tokens of a branch are those from the first step of its
oldest ancestor on.
"""

from dataclasses import dataclass
from pathlib import Path

from puna.config.load import save_recipe
from puna.config.paths import beside
from puna.config.recipe import Phase, Recipe, Schedule
from puna.core.console import say, warn
from puna.core.errors import CheckpointError, ConfigError, TrainError
from puna.core.files import sha256_json
from puna.core.layout import RunDir
from puna.core.reference import Moment
from puna.core.schema.lineage import Parent
from puna.core.schema.train_state import TrainState, directory_of, read_header
from puna.model.files import check_decoder
from puna.train.checkpoint import check_shards
from puna.train.extend import longer_from
from puna.train.lengthen import parse_length, with_phase
from puna.train.restate import restate
from puna.train.resume import changes, check_kind, saved_recipe


@dataclass(frozen=True, kw_only=True)
class Branch:
    """A moment of a run, and the recipe that goes on from there."""

    moment: Moment
    place: str
    """The moment as the user named it."""
    recipe: Recipe
    step: int
    """Steps of the branch that are done when it begins; others than the parent's where its batches are of another
    size."""

    def check(self) -> None:
        """Compare every shard of the parent's checkpoint with its hash.

        Raises:
            CheckpointError: One is damaged.
        """
        check_shards(self.moment.directory, read_header(self.moment.directory)[1])

    def check_tokenizer(self, sha256: str) -> None:
        """Refuse data of another tokenizer, whose tokens mean something else to the weights.

        Raises:
            CheckpointError: It is another one than the parent was trained with.
        """
        before = read_header(self.moment.directory)[0].tokenizer
        if before not in ("", sha256):  # states of older versions have none
            raise CheckpointError(
                f"{self.place}: was trained with another tokenizer than that of the data (SHA-256 {before[:12]}, not "
                f"{sha256[:12]})",
                hint=f'build the data with [tokenizer] from = "{self.moment.run}"',
            )

    def apply(self, run: RunDir, fingerprint: str) -> None:
        """Make the branch's first checkpoint, in a run's directory that holds nothing yet.

        Args:
            run: The branch.
            fingerprint: Of its data.

        Raises:
            CheckpointError: The parent's checkpoint has gone.
            StorageError: The disk is full.
        """
        source = self.moment.directory
        state, hashes = read_header(source)
        if state.data_fingerprint != fingerprint:
            warn(
                f"{self.place}: was trained on other token shards or another mixture; the branch reads these from its "
                "place on, and may read what its parent has read"
            )
        parent = self._parent(state, hashes)
        state.step, state.data_fingerprint = self.step, fingerprint
        state.recipe = beside(self.recipe.model_dump(exclude_none=True), run.root)
        state.lineage = [*state.lineage, parent]
        restate(source, directory_of(run, self.step), state, hashes)
        save_recipe(self.recipe, run.config)
        say(f"{run}: branches from {self.moment.run} at step {self.moment.step}")
        for line in parent.changes:
            say(f"  {line}")

    def _parent(self, state: TrainState, hashes: dict[str, str]) -> Parent:
        recipe = saved_recipe(state, self.moment.directory)
        return Parent(
            how="branched", run=recipe.name, place=self.place, step=state.step,
            tokens=state.step * recipe.train.batch_tokens, weights=sha256_json(hashes),
            changes=changes(state.recipe, self.recipe, self.moment.run), optimizer="kept",
        )  # fmt: skip


def plan_branch(moment: Moment, place: str, recipe: Recipe, amount: str | None, schedule: Schedule | None) -> Branch:
    """The branch of a run; nothing is written.

    Args:
        moment: The parent's checkpoint.
        place: The same as the user named it.
        recipe: Of the branch.
        amount: Its new length, as `parse_length` reads it; None leaves the recipe's.
        schedule: Of the learning rate from here on; None goes on with the recipe's.

    Raises:
        CheckpointError: The recipe is of another decoder, or of another kind of optimizer.
        ConfigError: What it changes of the schedule does not fit into the part of it that the branch begins in.
        TrainError: The amount is not one; the recipe has no steps left, or its steps do not fit to the parent's.
    """
    state, _ = read_header(moment.directory)
    parent = saved_recipe(state, moment.directory)
    _check_state(moment.directory, parent, recipe)
    batch = recipe.train.batch_tokens
    step = _first_step(moment.directory, state, parent.train.batch_tokens, batch)
    recipe = _changed_where_it_is(recipe, parent, step)
    tokens = recipe.train.tokens if amount is None else parse_length(amount, recipe.train.tokens, batch)
    if tokens // batch <= step:
        raise TrainError(
            f"{moment.directory}: has {step} steps done, and the branch is to have {tokens // batch} in all",
            hint="raise train.tokens, or give --extend with the new length",
        )
    if amount is not None:
        _, recipe = longer_from({step: moment.directory}, recipe, tokens, schedule)
    elif schedule is not None:
        recipe = with_phase(recipe, step, tokens, schedule)
    return Branch(moment=moment, place=place, recipe=recipe, step=step)


def _changed_where_it_is(recipe: Recipe, parent: Recipe, step: int) -> Recipe:
    """The recipe with what it changes of the schedule changed in the phase, too, in which the branch begins.

    Where the parent was extended, `optim.lr` is the rate of its first part, which is over, and alone changes nothing.
    """
    phases, batch = recipe.optim.phases, recipe.train.batch_tokens
    begun = sum(phase.from_tokens <= step * batch for phase in phases)
    if not begun or phases != parent.optim.phases:
        return recipe
    ours, theirs = recipe.optim.model_dump(), parent.optim.model_dump()
    keys = Phase.model_fields.keys() & ours.keys() - {"until_tokens"}
    changed = {key: ours[key] for key in keys if ours[key] != theirs[key]}
    phase = phases[begun - 1].model_copy(update=changed)
    optim = recipe.optim.model_copy(update={"phases": [*phases[: begun - 1], phase, *phases[begun:]]})
    changed_too = recipe.model_copy(update={"optim": optim})
    if conflicts := changed_too.run_conflicts():
        raise ConfigError([sentence for sentence, _ in conflicts])
    return changed_too


def _check_state(checkpoint: Path, parent: Recipe, recipe: Recipe) -> None:
    """Refuse a recipe that the state of the parent does not fit."""
    for line in check_decoder(checkpoint / "state.json", parent.model, recipe.model):
        warn(f"{checkpoint}: its rotary positions count otherwise: {line}")
    check_kind(
        checkpoint, parent, recipe,
        "a branch keeps that state; `--init-from` in the place of `--branch-from` begins with the weights alone",
    )  # fmt: skip


def _first_step(checkpoint: Path, state: TrainState, theirs: int, ours: int) -> int:
    """The steps that a branch has done when it begins, with batches of `ours` tokens: as many tokens as its parent."""
    step, rest = divmod(state.step * theirs, ours)
    if theirs != ours and (rest or state.shifts):
        why = f"its {state.step * theirs} tokens" if rest else "the batches that a rollback has passed over"
        raise TrainError(
            f"{checkpoint}: {why} are not whole batches of train.batch_tokens = {ours}",
            hint=f"keep train.batch_tokens = {theirs}, or choose another step",
        )
    return step
