"""Where training may write: not where a model or a data build lies."""

from pathlib import Path

from puna.config.commands import new_run_from, train_command
from puna.config.recipe import Recipe
from puna.core.errors import CheckpointError
from puna.core.layout import DataDir, RunDir
from puna.core.records import read_record, result_of


def check_place(recipe: Recipe, run: RunDir, *, force: bool = False) -> None:
    """Refuse a directory in which something else than a training run lies, before anything is written there.

    Args:
        recipe: What is to be trained.
        run: Where.
        force: Whether a run that lies there is to be deleted.

    Raises:
        CheckpointError: It is a model, or a data build, finished or not; or the run that would be deleted has the model
            that this one is to begin with.
    """
    begins = recipe.train.init_from
    if force and begins is not None and _is_within(Path(begins), run.root):
        raise CheckpointError(
            f"{run.root}: has the model that the run is to begin with, {begins}, which --force would delete",
            hint="choose another --run-dir",
        )
    record = read_record(run.record)
    if record is not None and record["stage"] != "train":
        model = record["stage"] in ("import", "model")
        begins = f"; `{train_command(recipe, *new_run_from(recipe, run, run.root))}` begins a run with its weights"
        raise CheckpointError(
            f"{run.root}: holds {result_of(record)}, not a training run",
            hint=f"choose another --run-dir{begins if model else ''}",
        )
    data = DataDir(run.root)
    if record is None and (data.documents.is_dir() or data.shards.is_dir()):
        raise CheckpointError(
            f"{run.root}: holds an unfinished data build, not a training run", hint="choose another --run-dir"
        )


def _is_within(place: Path, root: Path) -> bool:
    """Whether a model, a run or a moment of one (`RUN@best`) lies in a directory, or is it."""
    places = (place, place.with_name(place.name.partition("@")[0] or place.name))
    return any(one.exists() and one.resolve().is_relative_to(root.resolve()) for one in places)
