"""Whether a run may start, go on or is finished, and from which checkpoint."""

from pathlib import Path

from puna.config.explain import differences
from puna.config.recipe import Recipe
from puna.config.toml import read_toml
from puna.core.errors import CheckpointError
from puna.core.files import remove
from puna.core.layout import RunDir
from puna.core.records import read_record
from puna.train.checkpoint import TrainState, list_checkpoints, read_state

MAY_CHANGE = ("description", "train.log_every", "validation.", "samples.", "checkpoint.", "energy.")
"""Keys that change neither the data nor a weight; all others are refused on a resumed run."""


def is_finished(recipe: Recipe, run: RunDir, data_fingerprint: str) -> bool:
    """Whether the run has been trained to its end with this very recipe on these data.

    Raises:
        CheckpointError: It is finished, but with a recipe or with data that made other weights.
    """
    record = read_record(run.record)
    if record is None:
        return False
    _refuse_changes(record["config"], recipe, run, f"{run.root}: is finished")
    _refuse_other_data(record["inputs"].get("data", ""), data_fingerprint, run.root)
    return True


def begin(run: RunDir, *, force: bool) -> None:
    """Make room for a new run.

    Raises:
        CheckpointError: There is a run already, finished or not, and `force` is false.
    """
    existing = [path for path in (run.record, run.metrics, run.checkpoints, run.model) if path.exists()]
    if existing and not force:
        raise CheckpointError(
            f"{run.root}: holds a run already",
            hint="--resume goes on with it, --force deletes it and starts again, --run-dir chooses another directory",
        )
    for path in (
        run.record,
        run.config,
        run.metrics,
        run.tensorboard,
        run.checkpoints,
        run.model,
        run.exports,
        run.report,
    ):
        remove(path)


def newest(recipe: Recipe, run: RunDir, data_fingerprint: str) -> tuple[Path, TrainState] | None:
    """The newest checkpoint and its state, or None where the run has none yet.

    Raises:
        CheckpointError: It is damaged, or the recipe or the data are not the ones that it was made with.
    """
    _refuse_started_otherwise(recipe, run)
    checkpoints = list_checkpoints(run)
    if not checkpoints:
        return None
    _, path = checkpoints[-1]
    state = read_state(path)
    _refuse_changes(state.recipe, recipe, run, str(path))
    _refuse_other_data(state.data_fingerprint, data_fingerprint, path)
    return path, state


def _refuse_started_otherwise(recipe: Recipe, run: RunDir) -> None:
    """A run without a checkpoint has nothing but its config.toml to say what it was."""
    if run.config.exists() and not list_checkpoints(run):
        _refuse_changes(read_toml(run.config), recipe, run, str(run.config))


def _refuse_other_data(trained_on: str, present: str, path: Path) -> None:
    if trained_on != present:
        raise CheckpointError(
            f"{path}: was trained on other token shards (fingerprint {trained_on[:12]}, these have {present[:12]})",
            hint="build the data as they were, choose another --run-dir, or start again with --force",
        )


def _refuse_changes(saved: dict[str, object], recipe: Recipe, run: RunDir, what: str) -> None:
    changed = differences(saved, recipe.model_dump(exclude_none=True))
    refused = [line for line in changed if not line.startswith(MAY_CHANGE)]
    if refused:
        raise CheckpointError(
            f"{what}, but with another recipe: {'; '.join(refused)}",
            hint=f"give these values back, choose another --run-dir, or start {run.root} again with --force",
        )
