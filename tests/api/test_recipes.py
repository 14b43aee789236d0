"""Recipes and places of the Python API."""

from pathlib import Path

import pytest

import puna
from puna.api.recipes import data_dir, data_source, load, repeated_sources, run_dir
from puna.core.errors import ConfigError, DataError, TokenizerError
from puna.core.layout import DataDir, RunDir
from puna.shards.card import read_card
from puna.tokenizer.existing import named_tokenizer


def test_overrides_are_those_of_the_command_line_or_pythons() -> None:
    said = puna.recipe("demo", ["optim.lr=2e-3", "train.tokens=400k", 'samples.prompts=["a"]'])
    assert said == puna.recipe("demo", {"optim.lr": 2e-3, "train": {"tokens": "400k"}, "samples.prompts": ("a",)})
    assert said != puna.recipe("demo")


def test_recipe_may_be_a_path_and_its_values_too(tiny_toml: Path, tmp_path: Path) -> None:
    mine = {"path": tmp_path, "include": ["*.txt"], "heldout_fraction": 0.1}
    found = puna.recipe(tiny_toml, {"data.sources": {"mine": mine}, "mixture.mine": 1.0})
    assert found.data.sources["mine"].path == str(tmp_path)
    assert found.name == puna.recipe(str(tiny_toml)).name == "tiny"


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"optim.beta3": 0.9}, "overrides: unknown key 'optim.beta3'; did you mean 'optim.beta2'?"),
        ({"optim.lr": "fast"}, "overrides: 'optim.lr' expects a number, got \"fast\""),
        ({"optim.lr": None}, "overrides: 'optim.lr' expects text, a number, True or False, a list or a dict, got None"),
        ({"optim": {"lr": b"x"}}, "overrides: 'optim.lr' expects text"),
        ({"samples.prompts": ["\ud800"]}, "overrides: 'samples.prompts' expects text"),
        ({3: 1}, "overrides: 3 is not a key; write it dotted, such as optim.lr"),
        ({"optim": {"l r": 1}}, "overrides: 'l r' is not a key"),
        (["optim.lr"], "'optim.lr' is not"),
    ],
)
def test_wrong_overrides_are_sentences(overrides: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        puna.recipe("demo", overrides)
    assert sentence in str(caught.value)


def test_all_problems_of_overrides_come_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        puna.recipe("demo", {"optim.lr": "fast", "seed": None, "train.compile": 3})
    assert len(caught.value.problems) == 3


def test_places_are_those_of_the_recipes_name_or_what_is_given(tmp_path: Path) -> None:
    recipe = puna.recipe("demo")
    assert (data_dir(None, recipe).root, run_dir(None, recipe).root) == (Path("data/demo"), Path("runs/demo"))
    for given in (tmp_path, str(tmp_path), puna.DataDir(tmp_path), puna.RunDir(tmp_path)):
        assert data_dir(given, recipe) == data_source(given, recipe) == puna.DataDir(tmp_path)
        assert run_dir(given, recipe) == puna.RunDir(tmp_path)


@pytest.mark.parametrize("url", ["s3://bucket/demo", Path("s3://bucket/demo")])
def test_data_are_not_built_at_a_url(url: str | Path) -> None:
    with pytest.raises(DataError, match="s3://bucket/demo: data are built in a directory of this machine"):
        puna.build_data("demo", url)


def test_vocabulary_is_that_of_the_tokenizer_that_a_recipe_names_unless_it_is_given(
    tiny_toml: Path, tiny_data: DataDir, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.toml"
    named = f'[tokenizer]\nfrom = "{tiny_data}"\n'
    mine.write_text(tiny_toml.read_text().replace("vocab_size = 512\n", "") + named)
    loaded = load(mine)
    assert loaded.recipe.model.vocab_size == 512
    assert loaded.recipe.tokenizer.taken_from == str(tiny_data)
    assert loaded.origins["model.vocab_size"] == "derived from tokenizer.from"
    assert puna.recipe(mine, {"model.vocab_size": 600}).model.vocab_size == 600
    assert puna.recipe(tiny_toml, {"tokenizer.from": "nowhere"}).model.vocab_size == 512


def test_tokenizer_that_is_not_there_is_a_sentence_with_the_way_out(tiny_toml: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(tiny_toml.read_text().replace("vocab_size = 512", "") + '[tokenizer]\nfrom = "nowhere"')
    with pytest.raises(TokenizerError, match=r"tokenizer.from: .*nowhere: .*No such file") as caught:
        puna.recipe(mine)
    assert "with model.vocab_size in the recipe" in caught.value.hint


def test_data_are_built_whatever_the_schedule_and_a_run_is_refused(tiny_toml: Path, tmp_path: Path, capsys) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(tiny_toml.read_text().replace("warmup_steps = 4", "warmup_steps = 2000").replace("6144", "100"))
    build = puna.build_data(mine, tmp_path / "data")
    told = capsys.readouterr().err
    assert "no run with these values can start: train.tokens = 100 makes 0 steps" in told
    assert "makes 0 steps" in read_card(build).run.refused
    with pytest.raises(ConfigError, match=r"not more than optim\.warmup_steps = 2000"):
        puna.train(mine, build, tmp_path / "run")
    with pytest.raises(ConfigError, match="each source needs its share"):
        load(mine, {"mixture.other": 1.0}, for_data=True)


def test_sources_that_are_read_too_often_are_named_with_the_figure(
    tiny_toml: Path, tiny_data: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    often = {"train.tokens": 256 * 40_000}
    assert repeated_sources(puna.recipe(tiny_toml, often)) == []
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "tiny").symlink_to(tiny_data.root)
    assert repeated_sources(puna.recipe(tiny_toml)) == []
    card = read_card(tiny_data)
    tokens = {source.name: source.splits["train"].tokens for source in card.sources}
    wanted = {"prose": 0.75 * 256 * 40_000 / tokens["prose"], "code": 0.25 * 256 * 40_000 / tokens["code"]}
    told = repeated_sources(puna.recipe(tiny_toml, often))
    assert told
    for name, epochs in wanted.items():
        assert any(sentence.startswith(f"{name}: the run reads it {epochs:.1f} times") for sentence in told) == (
            epochs > 4
        )
    asked = repeated_sources(puna.recipe(tiny_toml, often | {"max_epochs": {"prose": 1e6, "code": 1e6}}))
    assert asked == []


def test_tokenizer_of_a_run_is_named_at_any_moment(tiny_run: RunDir) -> None:
    for place in (f"{tiny_run}", f"{tiny_run}@last"):
        recipe = puna.recipe("demo", {"tokenizer.from": place, "data.sources.code": False})
        assert recipe.tokenizer.taken_from == place
        assert named_tokenizer(place).vocab_size == 512
