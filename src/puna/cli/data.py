"""`puna data`: from raw text to token shards."""

import typer

from puna.cli.arguments import DataPath, Force, Overrides, RecipeName, Show, data_dir, resolve

app = typer.Typer(help="Build the data of a recipe.", no_args_is_help=True)


@app.callback()
def data() -> None:
    """Build the data of a recipe."""


@app.command()
def build(
    recipe: RecipeName, overrides: Overrides = None, out: DataPath = None, show: Show = False, force: Force = False
) -> None:
    """Read the sources, drop what is no text or is there twice, train the tokenizer, write token shards and a card."""
    resolved = resolve(recipe, overrides, show)
    from puna.cli.stages import build_data

    build_data(resolved, data_dir(out, resolved), force=force)
