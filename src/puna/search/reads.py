"""When a run has read a token: the way back from a document to the steps that learned from it."""

from bisect import bisect_left
from dataclasses import dataclass

from puna.config.load import load_recipe
from puna.config.recipe import Recipe
from puna.core.console import warn
from puna.core.errors import DataError
from puna.core.layout import DataDir, RunDir
from puna.core.metrics import read_metrics
from puna.core.records import read_record
from puna.core.schema.lineage import Parent
from puna.core.schema.lines import SkippedLine
from puna.core.schema.part import parse
from puna.core.schema.train_state import TrainState, list_checkpoints, read_header
from puna.shards.loader import Loader
from puna.shards.shards import TokenShards
from puna.shards.split import TRAIN


@dataclass(frozen=True)
class Reads:
    """The order in which a run has read its data.

    `since` is the step up to which another run made it, whose order may have been another.
    """

    loader: Loader
    state: TrainState
    rows: int
    """Sequences of a step."""
    steps: int
    """Optimizer steps done."""
    since: int
    left_out: frozenset[int]
    """Steps that learned nothing from their batch."""

    def of(self, source: str, position: int) -> list[int]:
        """The steps, counted from 1, that have read a token as an input.

        Args:
            source: The token's source.
            position: Its position in the training shards of the source.
        """
        batches = self.state.batch_number(self.steps - 1) + 1 if self.steps else 0
        found = set()
        for sequence in self.loader.reads(source, position, batches * self.rows):
            batch = sequence // self.rows
            step = bisect_left(range(self.steps), batch, key=self.state.batch_number)
            # A batch that a rollback has passed over belongs to no step.
            own = self.since <= step < self.steps and step + 1 not in self.left_out
            if own and self.state.batch_number(step) == batch:
                found.add(step + 1)
        return sorted(found)


def reads_of(run: RunDir, data: DataDir) -> Reads:
    """The order in which a run has read a data build.

    Raises:
        DataError: The build is damaged, or not the one that the run was trained on.
    """
    recipe = load_recipe(str(run.config)).recipe
    state = newest_state(run)
    loader = loader_of(run, recipe, data, state)
    # A run that is being made longer has the record of its first end and a newer checkpoint.
    done = state.step if list_checkpoints(run) else recipe.total_steps if read_record(run.record) else 0
    branched = [parent.tokens // recipe.train.batch_tokens for parent in state.lineage if parent.how == "branched"]
    rows = recipe.train.batch_tokens // recipe.model.context
    left_out = frozenset(line["step"] for line in read_metrics(run.metrics) if line.get("kind") == SkippedLine.kind)
    return Reads(loader, state, rows, done, max(branched, default=0), left_out)


def loader_of(run: RunDir, recipe: Recipe, data: DataDir, state: TrainState) -> Loader:
    """The sequences of a run, from the data that it was trained on.

    Raises:
        DataError: The build is damaged, or not the one that the run was trained on.
    """
    loader = Loader({name: TokenShards.open(data.shards / name / TRAIN) for name in recipe.mixture}, recipe)
    record = read_record(run.record)
    trained_on = record["inputs"].get("data") if record else state.data_fingerprint
    if not trained_on:
        warn(f"{run.root}: has no checkpoint yet that says what it is trained on; taking {data.root}")
    elif trained_on != loader.fingerprint:
        raise DataError(
            f"{data.root}: holds other token shards than {run.root} was trained on (fingerprint "
            f"{loader.fingerprint[:12]}, the run has {trained_on[:12]})",
            hint="name the run's own data with --data-dir",
        )
    return loader


def newest_state(run: RunDir) -> TrainState:
    """The state of the newest checkpoint, or else the one in the record; an empty state if there is neither."""
    if checkpoints := list_checkpoints(run):
        return read_header(checkpoints[-1][1])[0]
    record = read_record(run.record)
    results = record["results"] if record else {}
    try:
        before = [parse(Parent, value, f"{run.record}: lineage") for value in results.get("lineage", [])]
        shifts = [(int(since), int(batches)) for since, batches in results.get("shifts", [])]
    except (TypeError, ValueError):
        raise DataError(f"{run.record}: is damaged") from None
    return TrainState(shifts=shifts, lineage=before)
