"""Paths of a recipe: relative to the file that holds them, in memory to the working directory."""

from pathlib import Path

import pytest

from puna.config.load import load_recipe, save_recipe
from puna.config.paths import beside, with_known_places

RECIPE = """
name = "mine"
mixture.notes = 1.0
[data.sources.notes]
path = "notes"
include = ["*.md"]
clean = ["language"]
heldout_fraction = 0.1
[data.rules.language]
model = "../models/lid.bin"
[data.rules.decontaminate.sets]
exam = "sets/*.jsonl"
[tokenizer]
from = "tokenizer.model"
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe one folder below the working directory."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "mine.toml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    return Path("recipes/mine.toml")


def test_recipe_that_is_reached_through_a_link_to_its_folder_names_what_lies_beside_the_folder(mine: Path) -> None:
    Path("models").mkdir()
    Path("models/lid.bin").write_text("")
    Path("elsewhere").mkdir()
    Path("elsewhere/link").symlink_to(Path("recipes").absolute())
    assert load_recipe("elsewhere/link/mine.toml").recipe.data.rules.language.model == "models/lid.bin"


def test_paths_of_a_file_are_relative_to_it_from_every_folder(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_recipe(str(mine)).recipe
    assert recipe.data.sources["notes"].path == "recipes/notes"
    assert recipe.data.rules.language.model == "models/lid.bin"
    assert recipe.data.rules.decontaminate.sets == {"exam": "recipes/sets/*.jsonl"}
    assert recipe.tokenizer.taken_from == "recipes/tokenizer.model"
    monkeypatch.chdir("recipes")
    assert load_recipe("mine.toml").recipe.data.sources["notes"].path == "notes"
    assert load_recipe(str(Path("mine.toml").absolute())).recipe.data.sources["notes"].path == "notes"


@pytest.mark.parametrize("path", ["/abs/notes", "s3://bucket/notes", "~/notes", "file://notes"])
def test_absolute_paths_urls_and_those_of_the_home_stay(mine: Path, path: str) -> None:
    mine.write_text(RECIPE.replace('"notes"', f'"{path}"'))
    recipe = load_recipe(str(mine)).recipe
    assert recipe.data.sources["notes"].path == path
    save_recipe(recipe, Path("saved.toml"))
    assert load_recipe("saved.toml").recipe == recipe


def test_a_benchmark_keeps_its_name_and_a_directory_that_is_called_so_is_a_path(mine: Path) -> None:
    text = RECIPE.replace('"sets/*.jsonl"', '"benchmark:quiz"').replace('"notes"', '"benchmark:notes"')
    mine.write_text(text)
    recipe = load_recipe(str(mine)).recipe
    assert recipe.data.rules.decontaminate.sets == {"exam": "benchmark:quiz"}
    assert recipe.data.sources["notes"].path == "recipes/benchmark:notes"
    save_recipe(recipe, Path("saved.toml"))
    assert load_recipe("saved.toml").recipe == recipe


@pytest.mark.parametrize("name", ["owner/name", "owner/name@v1"])
def test_a_model_on_the_hub_keeps_its_name(mine: Path, name: str) -> None:
    recipe = load_recipe(str(mine), [f"train.init_from={name}"]).recipe
    save_recipe(recipe, Path("runs/mine/config.toml"))
    assert f'init_from = "{name}"' in Path("runs/mine/config.toml").read_text()
    assert load_recipe("runs/mine/config.toml").recipe == recipe


def test_what_may_be_a_path_is_not_a_name_on_the_hub(mine: Path) -> None:
    Path("runs").mkdir()  # in the working directory, not in the recipe's
    mine.write_text(f'{RECIPE}\n[train]\ninit_from = "runs/base"')
    assert load_recipe(str(mine)).recipe.train.init_from == "recipes/runs/base"
    Path("recipes/models").mkdir()
    mine.write_text(f'{RECIPE}\n[train]\ninit_from = "models/base"')
    assert load_recipe(str(mine)).recipe.train.init_from == "recipes/models/base"


def test_paths_of_overrides_are_relative_to_the_working_directory(mine: Path) -> None:
    loaded = load_recipe(str(mine), ["data.sources.notes.path=other", "train.init_from=../x"])
    assert (loaded.recipe.data.sources["notes"].path, loaded.recipe.train.init_from) == ("other", "../x")


def test_paths_of_a_shipped_recipe_are_relative_to_the_one_that_extends_it(mine: Path) -> None:
    mine.write_text('extends = "llama"\nname = "mine"')
    alone, extended = load_recipe("llama").recipe, load_recipe(str(mine)).recipe
    assert alone.data.sources["c4"].path == "dumps/c4"
    assert alone.data.rules.perplexity.model == "models/lm-{language}"
    assert extended.data.sources["c4"].path == "recipes/dumps/c4"
    assert extended.data.rules.perplexity.model == "recipes/models/lm-{language}"


def test_paths_of_shipped_recipes_in_a_chain_are_relative_to_the_nearest_file(mine: Path) -> None:
    mine.write_text('extends = "llama-i"\nname = "mine"')
    Path("top.toml").write_text('extends = "recipes/mine.toml"\nname = "top"')
    for name, path in (
        ("llama-i", "dumps/flan"),
        (str(mine), "recipes/dumps/flan"),
        ("top.toml", "recipes/dumps/flan"),
    ):
        assert load_recipe(name).recipe.data.sources["cot"].path == path


def test_paths_of_an_extended_file_are_relative_to_that_file(mine: Path) -> None:
    Path("top.toml").write_text('extends = "recipes/mine.toml"\n[data.sources.more]\npath = "more"\n')
    loaded = load_recipe(
        "top.toml", ["mixture.more=1.0", 'data.sources.more.include=["*"]', "data.sources.more.heldout_fraction=0.1"]
    )
    assert {name: source.path for name, source in loaded.recipe.data.sources.items()} == {
        "notes": "recipes/notes",
        "more": "more",
    }


def test_saved_recipe_gives_an_equal_one_from_every_folder(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, saved = load_recipe(str(mine)).recipe, Path("runs/mine/config.toml")
    saved.parent.mkdir(parents=True)
    save_recipe(recipe, saved)
    assert 'path = "../../recipes/notes"' in saved.read_text()
    assert load_recipe(str(saved)).recipe == recipe
    monkeypatch.chdir("recipes")
    assert load_recipe("../runs/mine/config.toml").recipe == load_recipe("mine.toml").recipe


def test_same_place_is_known_under_another_path_and_another_one_of_the_same_name_is_not(mine: Path) -> None:
    now = load_recipe(str(mine)).recipe.data.model_dump()
    recorded = beside(now, Path("data/mine"), "data")
    assert recorded["sources"]["notes"]["path"] == "../../recipes/notes"
    for folder in ("data/mine", "copied/to/another/place"):
        assert with_known_places(recorded, now, Path(folder), "data") == now
    for place in ("recipes/notes", "v2/notes"):
        Path(place).mkdir(parents=True)
    other = load_recipe(str(mine), ["data.sources.notes.path=v2/notes"]).recipe.data.model_dump()
    assert with_known_places(recorded, other, Path("data/mine"), "data") == now | {"sources": recorded["sources"]}
    assert with_known_places(recorded, other, Path("copied/to/another/place"), "data") == other
    renamed = load_recipe(str(mine), ["data.sources.notes.path=letters"]).recipe.data.model_dump()
    assert with_known_places(recorded, renamed, Path("data/mine"), "data") != renamed


def test_what_is_not_text_is_left_to_validation(mine: Path) -> None:
    for table in ({"data": 3}, {"data": {"sources": {"a": 3, "b": {"path": 4}}}}, {"tokenizer": []}):
        assert beside(table, Path("x")) == table
