"""`puna data`: from raw text to token shards, and from a training step back to the text."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

import puna
from puna.api.recipes import data_source
from puna.cli.arguments import (
    DataPath,
    DataSource,
    Overrides,
    RecipeName,
    Show,
    resolve,
)
from puna.cli.inspect import inspect
from puna.cli.json_output import json_line
from puna.cli.models import references, train_classifier, train_lm
from puna.cli.search import find, index
from puna.core.errors import DataError
from puna.core.layout import RunDir
from puna.core.records import read_record
from puna.core.user_path import user_path

if TYPE_CHECKING:
    from puna.config.recipe import Recipe
    from puna.core.schema.train_state import TrainState
    from puna.data.tasks.executors import Executor

app = typer.Typer(help="Build the data of a recipe, and see what a run has read.", no_args_is_help=True)


@app.callback()
def data() -> None:
    """Build the data of a recipe, and see what a run has read."""


@app.command()
def build(
    recipe: RecipeName,
    overrides: Overrides = None,
    out: DataPath = None,
    show: Show = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Replace what was built with other values; delete a finished build with the recipe's own, and build "
            "again.",
        ),
    ] = False,
    executor: Annotated[
        str, typer.Option("--executor", help="Where tasks run: local, ray (RAY_ADDRESS or a new one here) or slurm.")
    ] = "local",
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Tasks at one time.  \\[default: all cores]", show_default=False),
    ] = None,
    partition: Annotated[str, typer.Option("--partition", help="Slurm: the cluster's partition.")] = "",
    time: Annotated[str, typer.Option("--time", help="Slurm: longest time of a job.")] = "24:00:00",
    setup: Annotated[
        str, typer.Option("--setup", help="Slurm: shell commands that a job begins with, such as loading modules.")
    ] = "",
) -> None:
    """Read the sources, clean and deduplicate, train the tokenizer, write token shards and a data card."""
    puna.build_data(
        resolve(recipe, overrides, show, for_data=True), out, force=force, executor=cast("Executor", executor),
        workers=workers, partition=partition, time=time, setup=setup,
    )  # fmt: skip


app.command()(inspect)
app.command()(index)
app.command()(find)
app.command("train-lm")(train_lm)
app.command("train-classifier")(train_classifier)
app.command()(references)


@app.command()
def trace(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory such as runs/demo.")],
    step: Annotated[int, typer.Option("--step", min=1, help="An optimizer step, as metrics.jsonl counts them.")],
    data: DataSource = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
) -> None:
    """Print the documents in the batch of an optimizer step: one line for each document's part of a sequence.

    The columns are: number of the sequence in the run, source, id of the document, its first token there, how many
    tokens, origin. Of a run of tuning, which has its examples with it: number of the sequence, source, file and row of
    the example, of a pair which answer, its first position, how many positions, how many tokens that are learned.
    """
    from puna.config.load import load_recipe
    from puna.core.reference import whole_run
    from puna.search.reads import loader_of, newest_state

    directory = whole_run(user_path(run), f"puna data trace {{}} --step {step}")
    recipe = load_recipe(str(directory.config)).recipe
    if step > recipe.total_steps:
        raise DataError(f"--step {step}: the run in {run} has {recipe.total_steps} steps")
    state = newest_state(directory)
    _refuse_parents(state, recipe, step)
    if recipe.finetune is not None:
        _trace_examples(recipe, directory, state, step, data, as_json=as_json)
        return
    loader = loader_of(directory, recipe, data_source(data, recipe), state)
    rows = recipe.train.batch_tokens // recipe.model.context
    first = state.batch_number(step - 1) * rows
    for sequence in range(first, first + rows):
        for span in loader.trace(sequence):
            fields = {
                "sequence": sequence, "source": span.source, "document": span.document["id"], "first": span.first,
                "count": span.count, "origin": span.document["origin"],
            }  # fmt: skip
            print(json_line(fields) if as_json else _columns(fields))


def _columns(fields: dict[str, Any]) -> str:
    """The values of a line, each on one line, with tabs between."""
    return "\t".join(" ".join(str(value).split()) for value in fields.values())


def _trace_examples(
    recipe: "Recipe", run: RunDir, state: "TrainState", step: int, data: str | None, *, as_json: bool
) -> None:
    """Print the examples in the batch of a step of a run of tuning.

    Raises:
        DataError: The examples are missing or others, or a data build is named.
    """
    from puna.finetune.trace import trace as trace_examples

    if data is not None:
        raise DataError(f"--data-dir {data}: {run} was tuned, and has its examples with it", hint="leave it out")
    record = read_record(run.record)
    trained_on = str(record["inputs"].get("data", "")) if record else state.data_fingerprint
    for traced in trace_examples(run, recipe, state.batch_number(step - 1), trained_on):
        print(json_line(traced._asdict()) if as_json else _columns(traced._asdict()))


def _refuse_parents(state: "TrainState", recipe: "Recipe", step: int) -> None:
    """Refuse a step that another run has made, whose data may have been others.

    Raises:
        DataError: The run branches from a later step.
    """
    for parent in state.lineage:
        if parent.how == "branched" and step <= (first := parent.tokens // recipe.train.batch_tokens):
            raise DataError(
                f"--step {step}: this run branches from {parent.place} and has made the steps after {first}",
                hint="name the run that it branches from to see what that has read",
            )
