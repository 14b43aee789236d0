"""The model that a run begins with: any format, its shape, its tokenizer beside that of the data."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import puna
from puna.api.initial import InitialModel, open_initial, with_shape
from puna.config.load import load_recipe
from puna.config.recipe import ModelConfig, Recipe
from puna.core.errors import CheckpointError, ConfigError, FormatError, TrainError
from puna.core.layout import DataDir, RunDir
from puna.core.schema.train_state import list_checkpoints, read_header
from puna.model.files import load_model
from puna.tokenizer.load import load_tokenizer


@pytest.fixture(scope="module")
def exported(tiny_run: RunDir, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as Hugging Face has it."""
    return puna.export(tiny_run, "hf", tmp_path_factory.mktemp("exported") / "hf", quick=True).path


def without_shape(tiny: Recipe, **model: object) -> Recipe:
    """The tiny recipe, of whose [model] only these values are given."""
    values = tiny.model_dump(exclude_none=True)
    return Recipe.model_validate(values | {"model": {"context": 32} | model})


def test_a_run_goes_on_from_a_model_in_another_format_with_its_shape(
    tiny: Recipe, tiny_run: RunDir, tiny_data: DataDir, exported: Path, tmp_path: Path
):
    """The weights of both are the same bits, so the first losses are."""
    ours, theirs = RunDir(tmp_path / "ours"), RunDir(tmp_path / "theirs")
    recipe = without_shape(tiny)
    puna.train(recipe, tiny_data, ours, init_from=exported, stop_at=2)
    puna.train(recipe, tiny_data, theirs, init_from=tiny_run, stop_at=2)
    assert load_recipe(str(ours.config)).recipe.model == tiny.model
    losses = [
        [json.loads(line)["loss"] for line in run.metrics.read_text().splitlines() if '"kind": "train"' in line]
        for run in (ours, theirs)
    ]
    assert losses[0] == losses[1]
    (parent,) = read_header(list_checkpoints(ours)[-1][1])[0].lineage
    assert (parent.how, parent.run, parent.place, parent.step) == ("continued", "hf", str(exported), None)
    (parent,) = read_header(list_checkpoints(theirs)[-1][1])[0].lineage
    assert (parent.run, parent.step, parent.tokens, parent.optimizer) == ("tiny", 24, 6144, "fresh")


def test_a_run_that_cannot_begin_leaves_nothing(tiny: Recipe, tiny_run: RunDir, tiny_data: DataDir, tmp_path: Path):
    damaged = tmp_path / "model"
    shutil.copytree(tiny_run.model, damaged)
    with (damaged / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    for model, words, optimizer in ((damaged, "is damaged", None), (tiny_run, "has no state of an optimizer", "keep")):
        with pytest.raises(CheckpointError, match=words):
            puna.train(without_shape(tiny), tiny_data, tmp_path / "run", init_from=model, optimizer=optimizer)
        assert not (tmp_path / "run").exists()


def test_a_run_that_has_begun_needs_its_initial_model_no_more(
    tiny: Recipe, tiny_data: DataDir, exported: Path, tmp_path: Path
):
    shutil.copytree(exported, tmp_path / "hf")
    run, recipe = RunDir(tmp_path / "run"), without_shape(tiny)
    puna.train(recipe, tiny_data, run, init_from=tmp_path / "hf", stop_at=1)
    shutil.rmtree(tmp_path / "hf")
    puna.train(recipe, tiny_data, run, init_from=tmp_path / "hf", resume=True, stop_at=2)
    puna.train(run, tiny_data, resume=True, stop_at=3)
    assert list_checkpoints(run)[-1][0] == 3
    with pytest.raises(FormatError, match="hf"):
        puna.train(recipe, tiny_data, tmp_path / "other", init_from=tmp_path / "hf")


def test_a_moment_gives_its_shape_and_the_optimizer_that_is_asked_for(
    tiny: Recipe, tiny_run: RunDir, tiny_data: DataDir, tmp_path: Path
):
    run = RunDir(tmp_path / "run")
    puna.train(without_shape(tiny), tiny_data, run, init_from=f"{tiny_run}@20", optimizer="keep", stop_at=1)
    (parent,) = read_header(list_checkpoints(run)[-1][1])[0].lineage
    assert (parent.how, parent.step, parent.optimizer) == ("continued", 20, "kept")


CONFIG = ModelConfig(dim=64, n_layers=2, n_heads=4, vocab_size=300, context=16, rope_theta=5e5)


def test_what_a_recipe_does_not_give_of_the_shape_is_the_models(tiny: Recipe):
    found = with_shape(without_shape(tiny), CONFIG, "there", forced=False)
    assert found.model == CONFIG.model_copy(update={"context": 32})
    found = with_shape(without_shape(tiny, vocab_size=310, rope_theta=1e6), CONFIG, "there", forced=False)
    assert found.model == CONFIG.model_copy(update={"context": 32, "vocab_size": 310, "rope_theta": 1e6})
    # A vocabulary that was padded keeps its rows.
    assert with_shape(without_shape(tiny, vocab_size=290), CONFIG, "there", forced=False).model.vocab_size == 300


def test_another_shape_is_refused_unless_the_models_is_asked_for(tiny: Recipe, capsys: pytest.CaptureFixture[str]):
    recipe = without_shape(tiny, dim=32, n_heads=4)
    with pytest.raises(
        CheckpointError, match="there: is of another decoder than the recipe's: it has dim = 64, not 32"
    ):
        with_shape(recipe, CONFIG, "there", forced=False)
    found = with_shape(recipe, CONFIG, "there", forced=True)
    assert found.model == CONFIG.model_copy(update={"context": 32})
    assert "there: gives [model] dim = 64, not 32" in capsys.readouterr().err


def test_a_shape_that_the_recipe_cannot_train_is_told_as_its_own_values_are(tiny: Recipe):
    values = tiny.model_dump(exclude_none=True)
    values["train"] |= {"micro_batch_tokens": 128}
    recipe = Recipe.model_validate(values | {"model": {"context": 64}})
    other = CONFIG.model_copy(update={"n_kv_heads": 3, "n_heads": 3, "head_dim": 2})
    layout = recipe.model_copy(update={"parallel": recipe.parallel.model_copy(update={"tensor": 2})})
    with pytest.raises(ConfigError, match=r"model\.n_heads = 3 is not a multiple of parallel\.tensor = 2"):
        with_shape(layout, other, "there", forced=True)


def test_data_of_another_tokenizer_are_refused(
    tiny_run: RunDir, tiny_data: DataDir, capsys: pytest.CaptureFixture[str]
):
    initial = open_initial(str(tiny_run))
    initial.check_tokenizer(tiny_data)

    class Other:
        sha256 = "other"

        def __init__(self, tokens: list[bytes]) -> None:
            self.token_bytes = lambda: tokens

    tokens = load_tokenizer(tiny_data.tokenizer).token_bytes()
    fewer = Other(tokens[:500])  # the data have new tokens behind those of the model
    replace(initial, tokenizer=fewer).check_tokenizer(tiny_data)
    for others, count in [([*tokens[:-2], b"x", b"y"], 2), ([*tokens, b"more"], 1)]:
        with pytest.raises(TrainError, match=f"{count} of its {len(others)} tokens are others") as caught:
            replace(initial, tokenizer=Other(others)).check_tokenizer(tiny_data)
        assert "[tokenizer] from = " in caught.value.hint
    assert capsys.readouterr().err == ""
    InitialModel(place="there", config=CONFIG, tokenizer=None).check_tokenizer(tiny_data)
    assert "there: has no tokenizer" in capsys.readouterr().err


def test_the_shape_of_every_kind_of_place_is_read(tiny: Recipe, tiny_run: RunDir, exported: Path, tmp_path: Path):
    shutil.copytree(tiny_run.root, tmp_path / "unfinished")
    shutil.rmtree(tmp_path / "unfinished" / "model")
    for place in (
        tiny_run,
        tiny_run.model,
        f"{tiny_run}@20",
        list_checkpoints(tiny_run)[0][1],
        tmp_path / "unfinished",
    ):
        assert open_initial(str(place)).config == tiny.model, place
        assert open_initial(str(place)).other is None
    other = open_initial(str(exported))
    assert other.config == tiny.model
    weights = dict(load_model(tiny_run.model).model.named_parameters())
    assert all(torch.equal(other.other.tensor(name), weight) for name, weight in weights.items())
