"""Recipes, and where their results lie; no torch."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from puna.core.errors import DataError, TokenizerError
from puna.core.layout import DataDir, RunDir
from puna.core.user_path import user_path

if TYPE_CHECKING:
    from puna.config.load import Loaded
    from puna.config.recipe import Recipe

PathLike: TypeAlias = str | os.PathLike[str]
"""Every path may be a string, a `Path`, or a directory that a function has returned."""


def recipe(name_or_path: PathLike, overrides: Sequence[str] | Mapping[str, Any] | None = None) -> "Recipe":
    """A recipe, checked: every value is there, and all of them fit together.

    Args:
        name_or_path: The name of a shipped recipe (`demo`; `puna recipes` lists them), or a path that ends in `.toml`.
        overrides: Values to change: `{"optim.lr": 2e-3}`, or `["optim.lr=2e-3"]` as on the command line.

    Raises:
        ConfigError: There is no such recipe, or problems in the values: all of them at once.
    """
    return load(name_or_path, overrides).recipe


def load(
    name_or_path: PathLike, overrides: Sequence[str] | Mapping[str, Any] | None = None, *, for_data: bool = False
) -> "Loaded":
    """A recipe and the origin of each value, with what follows from the tokenizer that it names.

    Args:
        name_or_path: As `recipe` takes it.
        overrides: Likewise.
        for_data: Whether only data are built with it, so that schedule, batches and layout may be wrong.

    Raises:
        ConfigError: There is no such recipe, or problems in the values: all of them at once.
        TokenizerError: The recipe takes an existing tokenizer without giving `model.vocab_size`, and it cannot be read.
    """
    from puna.config.load import load_recipe

    return load_recipe(os.fspath(name_or_path), overrides, tokens_of=_tokens_of, for_data=for_data)


def _tokens_of(place: str) -> int:
    """How many tokens the tokenizer at a place has; `model.vocab_size` in the recipe makes it needless to read it."""
    from puna.tokenizer.existing import named_tokenizer

    try:
        return named_tokenizer(place).vocab_size
    except TokenizerError as error:
        hint = error.hint or "correct tokenizer.from; with model.vocab_size in the recipe, only the data build reads it"
        raise TokenizerError(error.message, hint=hint) from None


def repeated_sources(recipe: "Recipe") -> list[str]:
    """A sentence for each source that the run reads more often than is worth it; none where no data are built yet."""
    from puna.shards.card import read_card, repeated, with_mixture

    build = data_dir(None, recipe)
    if recipe.finetune is not None or not build.card.is_file():
        return []
    card = read_card(build)
    return repeated(with_mixture(card, recipe)) if {source.name for source in card.sources} == {*recipe.mixture} else []


def as_recipe(recipe: "Recipe | PathLike", *, for_data: bool = False) -> "Recipe":
    """The recipe itself, or the one of this name or path.

    Raises:
        ConfigError: There is no such recipe, or problems in its values.
    """
    from puna.config.recipe import Recipe

    return recipe if isinstance(recipe, Recipe) else load(recipe, for_data=for_data).recipe


def data_dir(place: PathLike | None, recipe: "Recipe") -> DataDir:
    """The data build's directory: the one given, or `data/` and the recipe's name.

    Raises:
        DataError: It is a URL, and a build is written to a directory.
    """
    place = None if place is None else os.fspath(place)
    # A `Path` has one slash less than the URL that the user typed.
    if place is not None and re.match(r"[a-z][a-z0-9+.-]+:/", place):
        raise DataError(
            f"--data-dir {re.sub(':/+', '://', place, count=1)}: data are built in a directory of this machine",
            hint="build them here and copy the directory; `puna train` and `puna data trace` read it from there",
        )
    return DataDir(Path("data") / recipe.name if place is None else user_path(place))


def data_source(place: PathLike | None, recipe: "Recipe") -> DataDir:
    """The data build to read: a directory, or the local mirror of one in an object store.

    Raises:
        DataError: The object store has no such build.
    """
    if place is None or "://" not in os.fspath(place):
        return data_dir(place, recipe)
    from puna.shards.remote import mirror

    return mirror(os.fspath(place))


def run_of(recipe: PathLike, *, goes_on: bool) -> RunDir | None:
    """The run whose own recipe a user has named: by its directory, or by the config.toml in it if it is to go on.

    A config.toml begins a new run of the same recipe otherwise, and one in a data build belongs to none.
    """
    from puna.config.load import shipped_recipes

    path = Path(recipe)
    if os.fspath(recipe) not in shipped_recipes() and path.is_dir():
        run = RunDir(path)
    elif path.name == "config.toml" and goes_on:
        run = RunDir(path.parent)
    else:
        return None
    build = DataDir(run.root)
    return run if run.config.is_file() and not (build.documents.exists() or build.shards.exists()) else None


def run_dir(path: PathLike | None, recipe: "Recipe") -> RunDir:
    """The run's directory: the one given, or `runs/` and the recipe's name."""
    return RunDir(Path("runs") / recipe.name if path is None else user_path(path))
