"""A recipe that names rules and readers of other packages: what it says when it was resolved, and what is refused."""

import shutil
import sys
from pathlib import Path

import pytest
from plugins import SHOUTING, Install, install

from puna.config import plugins
from puna.config.load import load_recipe, save_recipe
from puna.core.errors import UserError

__all__ = ["install"]

RECIPE = """
name = "songs"
mixture.songs = 1.0
[data.sources.songs]
path = "."
include = ["*.song"]
format = "song"
clean = ["pii", "no-shouting"]
heldout_fraction = 0.1
"""
PINS = {"rules": {"no-shouting": "shouting 1.0"}, "readers": {"song": "shouting 1.0"}}


@pytest.fixture
def toml(tmp_path: Path) -> str:
    path = tmp_path / "songs.toml"
    path.write_text(RECIPE)
    return str(path)


def refused(toml: str, *overrides: str) -> list[str]:
    with pytest.raises(UserError) as caught:
        load_recipe(toml, [*overrides])
    return caught.value.message.splitlines()


def test_a_resolved_recipe_says_where_its_plugins_came_from_and_has_all_their_settings(toml: str, install: Install):
    install()
    data = load_recipe(toml, ["data.rules.no_shouting.mark=?"]).recipe.data
    assert data.plugins.model_dump() == PINS
    assert data.rules.model_dump()["no_shouting"] == {"most_capitals": 0.5, "mark": "?"}


def test_a_saved_recipe_gives_an_equal_one_also_where_its_plugins_are_not_installed(
    toml: str, install: Install, tmp_path: Path
):
    info = install()
    recipe = load_recipe(toml, ["data.rules.no_shouting.most_capitals=0.25"]).recipe
    save_recipe(recipe, tmp_path / "config.toml")
    assert load_recipe(str(tmp_path / "config.toml")).recipe == recipe
    (info.parent / "shouting.py").write_text("import no_such_library")
    sys.modules.pop("shouting")
    assert load_recipe(str(tmp_path / "config.toml")).recipe == recipe
    shutil.rmtree(info)
    assert load_recipe(str(tmp_path / "config.toml")).recipe == recipe


def test_a_recipe_without_plugins_does_not_speak_of_them():
    assert "plugins" not in load_recipe("demo").recipe.model_dump()["data"]


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("data.rules.no_shouting.most_capitals=2", "'data.rules.no_shouting.most_capitals' expects at most 1.0, got 2"),
        ("data.rules.no_shouting.most_capital=1.0", "did you mean 'data.rules.no_shouting.most_capitals'?"),
        ("data.rules.no_shouting=3", "'data.rules.no_shouting' expects a table, got 3"),
        ("data.rules.no_shoutin.mark=a", "unknown key 'data.rules.no_shoutin'; did you mean 'data.rules.no_shouting'?"),
        ('data.sources.songs.clean=["no-shoutin"]', "'data.sources.songs.clean.0' expects 'lines', 'mojibake'"),
        ('data.sources.songs.clean=["no-shoutin"]', "'decontaminate' or 'no-shouting', got \"no-shoutin\""),
        ("data.sources.songs.format=sonnet", "'tasks' or 'song', got \"sonnet\""),
    ],
)
def test_a_wrong_value_is_named_with_its_field_and_what_was_expected(
    toml: str, install: Install, override: str, sentence: str
):
    install()
    (problem,) = refused(toml, override)
    assert problem.startswith("command line: ")
    assert sentence in problem


def test_problems_of_plugins_are_said_with_all_others(toml: str, install: Install):
    install()
    overrides = ["data.rules.no_shouting.mark=3", "data.rules.c4.min_sentences=-1", "optim.lr=0"]
    assert len(refused(toml, *overrides)) == 3


def test_without_the_package_its_names_are_unknown(toml: str):
    problems = refused(toml)
    assert len(problems) == 2
    assert any("'data.sources.songs.format' expects 'text'" in problem for problem in problems)
    assert any("'data.sources.songs.clean.1' expects 'lines'" in problem for problem in problems)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("import no_such_library", "cannot be imported: ModuleNotFoundError: No module named 'no_such_library'"),
        ("1 / 0", "cannot be imported: ZeroDivisionError: division by zero"),
        ("READER = 1", "cannot be imported: AttributeError: module 'shouting' has no attribute 'RULE'"),
        ("RULE = 1", "its `settings` should be a class made from puna.config.section.Section"),
    ],
)
def test_a_broken_package_is_one_sentence(toml: str, install: Install, source: str, sentence: str):
    install(source=source)
    (problem,) = refused(toml)
    assert problem.startswith("puna.rules: 'no-shouting' of the distribution 'shouting' ")
    assert sentence in problem
    assert "\n" not in problem


def test_a_name_that_two_packages_bring_is_refused(toml: str, install: Install):
    install()
    install("louder", source=SHOUTING, points={"puna.rules": {"no-shouting": "louder:RULE"}})
    (problem,) = refused(toml)
    assert "'louder'" in problem
    assert "'shouting'" in problem
    assert "has the name of another one" in problem


def test_what_is_not_a_table_is_refused_as_without_plugins(toml: str, install: Install):
    install()
    for override, key in (
        ("data.plugins=1", "data.plugins"), ("data.plugins.rules=1", "data.plugins.rules"),
        ("data.rules=1", "data.rules"), ("data.sources=1", "data.sources"),
        ("data.sources.songs=1", "data.sources.songs"),
    ):  # fmt: skip
        assert any(f"'{key}' expects a table, got 1" in problem for problem in refused(toml, override)), override


def test_a_rule_of_a_script_is_known_by_the_hash_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Record:
        make = Path  # of a module that has a file

    monkeypatch.setattr(plugins, "_added", {})
    plugins.add("rules", "mine", Record)
    found = plugins.find("rules", "mine")
    assert found is not None
    assert found.load() is Record
    assert found.origin.startswith("pathlib.py sha256:")
    assert plugins.find("readers", "mine") is None
