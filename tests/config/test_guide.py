"""docs/guide/recipes.md is true: its recipe loads, its commands load, its output is what is printed."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from puna.config.explain import show
from puna.config.load import load_recipe
from puna.config.recipe import DataConfig, Recipe
from puna.core.errors import ConfigError

GUIDE = (Path(__file__).parents[2] / "docs" / "guide" / "recipes.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", GUIDE, re.DOTALL)
SESSIONS = [text.splitlines() for kind, text in BLOCKS if kind == "console"]


def overrides(command: str) -> list[str]:
    return [word for word in shlex.split(command) if "=" in word]


def test_example_of_an_own_recipe_loads(tmp_path: Path) -> None:
    text = next(text for kind, text in BLOCKS if kind == "toml" and "extends" in text)
    (tmp_path / "notes.toml").write_text(text)
    recipe = load_recipe(str(tmp_path / "notes.toml")).recipe
    assert list(recipe.data.sources) == ["prose", "code", "notes"]
    assert recipe.train.tokens == 8_000_000


def test_example_of_overrides_loads() -> None:
    command = next(session[0] for session in SESSIONS if len(session) == 1)
    recipe = load_recipe("demo", overrides(command)).recipe
    assert (recipe.optim.lr, recipe.train.tokens, recipe.samples.prompts) == (2e-4, 8_000_000, ["Once", "We the"])


def test_example_of_show_is_what_is_shown() -> None:
    command, *output = next(session for session in SESSIONS if "--show" in session[0])
    lines = show(load_recipe("demo", overrides(command))).splitlines()
    assert [line for line in output if line != "…"] == [line for line in lines if line in output]
    assert len(output) == 7


def test_example_of_errors_is_what_is_said() -> None:
    command, *output = next(session for session in SESSIONS if "fp8" in session[0])
    with pytest.raises(ConfigError) as caught:
        load_recipe("demo", overrides(command))
    assert output == f"error: {caught.value}".splitlines()


def test_every_section_is_in_the_table() -> None:
    for name in Recipe.model_fields:
        assert re.search(rf"^\|.*`\[?{name}[\].`]", GUIDE, re.MULTILINE), name


def test_counts_of_the_guide_are_understood() -> None:
    for written in ("4096", "16_384", '"20k"', '"1.5M"', '"1.2T"'):
        assert f"`{written}`" in GUIDE
        assert DataConfig.model_validate(tomllib.loads(f"shard_tokens = {written}")).shard_tokens >= 4096
