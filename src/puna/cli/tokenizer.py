"""`puna tokenizer`: trains a tokenizer on a recipe's own text."""

from typing import Annotated

import typer

import puna
from puna.cli.arguments import DataPath, Overrides, RecipeName, Show, resolve

app = typer.Typer(help="Train the tokenizer of a recipe.", no_args_is_help=True)


@app.callback()
def tokenizer() -> None:
    """Train the tokenizer of a recipe."""


@app.command()
def train(
    recipe: RecipeName,
    overrides: Overrides = None,
    out: DataPath = None,
    show: Show = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace what was made with other values, and train the tokenizer again.")
    ] = False,
) -> None:
    """Train the tokenizer on the training documents, which are built first if they are missing."""
    puna.train_tokenizer(resolve(recipe, overrides, show, for_data=True), out, force=force)
