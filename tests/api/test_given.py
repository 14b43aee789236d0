"""Files of examples on the command line become a source."""

import json
from pathlib import Path

import pytest
from tuned import RECIPE, write_talks

import puna
from puna.api.given import SOURCE, files_of, with_files
from puna.config.recipe import Recipe
from puna.core.errors import ConfigError, DataError
from puna.data.input.sources import list_files
from puna.shards.split import is_heldout


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return puna.recipe(tmp_path / "recipe.toml")


def found(recipe: Recipe) -> list[str]:
    return [file.name for file in list_files(SOURCE, recipe.data.sources[SOURCE])]


def test_files_of_several_directories_are_one_source(recipe: Recipe, tmp_path: Path) -> None:
    files = [tmp_path / "a" / "one.jsonl", tmp_path / "b" / "c" / "two [x].jsonl"]
    for file in files:
        file.parent.mkdir(parents=True)
        write_talks(file)
    write_talks(tmp_path / "a" / "other.jsonl")
    given, _ = with_files(recipe, files, None)
    assert found(given) == ["a/one.jsonl", "b/c/two [x].jsonl"]
    assert given.mixture == {SOURCE: 1.0}


def test_a_directory_gives_all_of_its_files(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "talks" / "more").mkdir(parents=True)
    for name in ("one.jsonl", "more/two.jsonl"):
        write_talks(tmp_path / "talks" / name)
    given, _ = with_files(recipe, [tmp_path / "talks"], None)
    assert found(given) == ["more/two.jsonl", "one.jsonl"]


def test_what_lies_beside_the_rows_of_a_saved_dataset_is_not_read(recipe: Recipe, tmp_path: Path) -> None:
    names = ["train/data-00000-of-00001.arrow", "train/cache-1.arrow", "train/state.json", "train/dataset_info.json"]
    for name in [*names, "dataset_dict.json", "README.md", "b.json.gz", "c.parquet", "d.json", "e.jsonl.zst"]:
        (tmp_path / "saved" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "saved" / name).write_text("x")
    given, _ = with_files(recipe, [tmp_path / "saved"], None)
    assert found(given) == ["b.json.gz", "c.parquet", "d.json", "e.jsonl.zst", names[0]]


def test_changed_files_and_other_cleaning_have_another_build(recipe: Recipe, tmp_path: Path) -> None:
    file = write_talks(tmp_path / "talks.jsonl")
    first, again = (with_files(recipe, [file], None)[1] for _ in range(2))
    file.write_text(file.read_text() + file.read_text())
    assert first == again != with_files(recipe, [file], None)[1]
    other = puna.recipe(tmp_path / "recipe.toml", {"data.dedup.exact": "none"})
    assert len({with_files(of, [file], None)[1] for of in (recipe, other)}) == 2
    assert with_files(recipe, [file], "elsewhere")[1] == "elsewhere"


def test_pairs_are_read_where_the_recipe_learns_preferences(recipe: Recipe, tmp_path: Path) -> None:
    file = write_talks(tmp_path / "pairs.jsonl")
    pairs = puna.recipe(tmp_path / "recipe.toml", {"finetune.preference.loss": "dpo"})
    assert with_files(recipe, [file], None)[0].data.sources[SOURCE].format == "conversations"
    assert with_files(pairs, [file], None)[0].data.sources[SOURCE].format == "preferences"


def test_a_recipe_with_sources_takes_no_files(recipe: Recipe, tmp_path: Path) -> None:
    given, _ = with_files(recipe, [write_talks(tmp_path / "talks.jsonl")], None)
    with pytest.raises(ConfigError, match="has sources of its own: examples"):
        with_files(given, [tmp_path / "talks.jsonl"], None)


def test_one_file_or_several_may_be_named(tmp_path: Path) -> None:
    file = write_talks(tmp_path / "talks.jsonl")
    assert files_of(None) == []
    assert files_of(str(file)) == files_of([file]) == [file]


def heldout_of(recipe: Recipe, file: Path, count: int) -> int:
    """How many of so many examples of a file are held out."""
    rows = [{"prompt": f"What comes after {number}?", "completion": f"{number + 1}"} for number in range(count)]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    source = with_files(recipe, [file], None)[0].data.sources[SOURCE]
    return sum(is_heldout(source, SOURCE, f"{file.name}#{number}") for number in range(count))


def test_of_few_examples_some_are_held_out_and_most_are_learned(recipe: Recipe, tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        found = {count: heldout_of(recipe, tmp_path / name, count) for count in (2, 3, 9, 10, 40)}
        assert all(max(1, min(4, count // 5)) <= heldout <= max(1, count // 4) for count, heldout in found.items()), (
            found
        )


def test_of_many_examples_the_usual_share_is_held_out(recipe: Recipe, tmp_path: Path) -> None:
    heldout_of(recipe, tmp_path / "many.jsonl", 600)
    given, _ = with_files(recipe, [tmp_path / "many.jsonl"], None)
    assert given.data.sources[SOURCE].heldout_fraction == 0.05


def test_one_example_alone_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has one example alone; one is learned, and another must validate"):
        heldout_of(recipe, tmp_path / "one.jsonl", 1)
