"""Examples as a data build gives them, and written down as tokens."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chats import chat_tokenizer
from pair_runs import PairRun, pair_recipe
from shelf import no_waiting_for_the_disk, out
from tuning import TEMPLATE, made, recipe_of

from puna.config.recipe import Recipe
from puna.finetune.examples import SourceExample
from puna.finetune.token_files import Examples
from puna.finetune.tokens import prepare
from puna.tokenizer.tokenizer import Tokenizer

__all__ = ["no_waiting_for_the_disk", "out"]


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """With the control tokens of ChatML; it puts BOS before a text."""
    return chat_tokenizer(add_bos=True)


@pytest.fixture(scope="session")
def given() -> dict[str, list[SourceExample]]:
    """The examples of both splits."""
    return {
        "train": [*made("talks", 70, 1), *made("tasks", 50, 2)],
        "heldout": [*made("talks", 9, 3), *made("tasks", 8, 4)],
    }


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """Two sources, in the proportion of their examples."""
    return recipe_of({"talks": 70.0, "tasks": 50.0})


@pytest.fixture
def write(tokenizer: Tokenizer, tmp_path: Path) -> Callable[..., Examples]:
    """Writes examples by a recipe, and opens those of a split."""

    def write(recipe: Recipe, given: dict[str, list[SourceExample]], split: str = "train", **options: Any) -> Examples:
        out = tmp_path / "examples"
        data = repr([(split, one.id) for split, ones in given.items() for one in ones])
        prepare(recipe, TEMPLATE, tokenizer, lambda name: given.get(name, []), out, data=data, **options)
        return Examples.open(out, split, list(recipe.mixture), verify=True)

    return write


@pytest.fixture(scope="session")
def written(
    recipe: Recipe,
    given: dict[str, list[SourceExample]],
    tokenizer: Tokenizer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The examples as tokens. Read them, do not change them."""
    out = tmp_path_factory.mktemp("run") / "examples"
    prepare(recipe, TEMPLATE, tokenizer, lambda name: given[name], out, data="hash")
    return out


@pytest.fixture
def examples(recipe: Recipe, written: Path) -> Examples:
    """Those to train on."""
    return Examples.open(written, "train", list(recipe.mixture))


@pytest.fixture
def pairs(write: Callable[..., Examples], tokenizer: Tokenizer, tmp_path: Path) -> PairRun:
    """A run of six steps."""
    return PairRun(write, tokenizer, pair_recipe(), tmp_path)
