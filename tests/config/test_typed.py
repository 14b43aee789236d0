"""Recipes in the words of those who named them."""

import pickle
import shlex
from pathlib import Path

from puna.config.load import load_recipe
from puna.config.recipe import Recipe
from puna.config.typed import Typed


def test_words_name_the_same_recipe_again(tiny_toml: Path) -> None:
    for overrides in (
        ["optim.lr=2e-3", "description=a b"],
        {
            "optim.lr": 2e-3,
            "description": "a b",
            "train": {"compile": False, "log_every": 2},
            "samples.prompts": ['a "b"', "c"],
        },
    ):
        recipe = load_recipe(str(tiny_toml), overrides).recipe
        name, *words = shlex.split(recipe.typed)
        assert (name, load_recipe(name, words).recipe) == (str(tiny_toml), recipe)
        assert pickle.loads(pickle.dumps(recipe)).typed == recipe.typed
    assert Recipe(name="made-here").typed == "made-here"


def test_recipes_are_equal_however_they_were_named(tiny: Recipe, tiny_toml: Path) -> None:
    typed = tiny.typed_with("--run-dir", "runs/a b").typed_with("--data-dir", None)
    assert typed == tiny
    assert typed.typed == f"{tiny_toml} --run-dir 'runs/a b'"
    assert tiny.typed == str(tiny_toml)
    assert Typed(("a",)) == Typed()
