"""Where training may write: not where a model or a data build lies."""

from puna.config.commands import new_run_from, train_command
from puna.config.recipe import Recipe
from puna.core.errors import CheckpointError
from puna.core.layout import DataDir, RunDir
from puna.core.records import read_record, result_of


def check_place(recipe: Recipe, run: RunDir) -> None:
    """Refuse a directory in which something else than a training run lies, before anything is written there.

    Args:
        recipe: What is to be trained.
        run: Where.

    Raises:
        CheckpointError: It is a model, or a data build, finished or not.
    """
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
