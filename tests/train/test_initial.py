"""Runs that begin with the weights of another one, and with nothing else of it."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from puna.api.stages import train as train_model
from puna.config.recipe import Recipe
from puna.core.errors import CheckpointError
from puna.core.layout import DataDir, RunDir
from puna.core.metrics import read_metrics
from puna.core.schema.train_state import list_checkpoints, read_header
from puna.parallel.apply import build_model
from puna.parallel.mesh import build_mesh
from puna.parallel.world import World
from puna.train.initial import load_initial

WORLD = World(0, 1, torch.device("cpu"), None)


def built(recipe: Recipe):
    return build_model(recipe, build_mesh(recipe.parallel, WORLD), WORLD.device, drawn=False)


def test_weights_of_a_finished_run_are_those_of_its_model(tiny: Recipe, tiny_run: RunDir):
    weights = load_file(tiny_run.model / "model.safetensors")
    for source in (tiny_run.root, tiny_run.model):
        model = built(tiny)
        digest, differs = load_initial(source, model, WORLD)
        assert len(digest) == 64
        assert differs == []
        for name, parameter in model.named_parameters():
            assert torch.equal(parameter, weights[name]), name


def test_weights_of_a_checkpoint_are_those_of_its_step(tiny: Recipe, tiny_run: RunDir):
    step, path = list_checkpoints(tiny_run)[0]
    assert step < tiny.total_steps
    saved = load_file(next(path.glob("*.safetensors")))
    model = built(tiny)
    load_initial(path, model, WORLD)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, saved[f"model.{name}"]), name


def test_an_unfinished_run_gives_its_newest_checkpoint(tiny: Recipe, tiny_run: RunDir, tmp_path: Path):
    shutil.copytree(tiny_run.checkpoints, RunDir(tmp_path).checkpoints)
    model = built(tiny)
    digest, _ = load_initial(tmp_path, model, WORLD)
    newest = list_checkpoints(tiny_run)[-1][1]
    assert digest == load_initial(newest, built(tiny), WORLD)[0]


def test_a_moment_is_named_by_its_step(tiny: Recipe, tiny_run: RunDir, capsys: pytest.CaptureFixture[str]):
    step, path = list_checkpoints(tiny_run)[0]
    expected, _ = load_initial(path, built(tiny), WORLD)
    assert load_initial(Path(f"{tiny_run}@step-{step}"), built(tiny), WORLD) == (expected, [])
    assert capsys.readouterr().err == ""
    last, _ = load_initial(Path(f"{tiny_run}@last"), built(tiny), WORLD)
    assert last != expected
    assert f"@last': step-{tiny.total_steps}, the newest checkpoint" in capsys.readouterr().err


def test_a_run_that_begins_with_a_model_starts_at_its_loss_and_names_it(
    tiny: Recipe, tiny_data: DataDir, tiny_run: RunDir, tmp_path: Path
):
    recipe = tiny.model_copy(update={"train": tiny.train.model_copy(update={"init_from": str(tiny_run.root)})})
    run = RunDir(tmp_path / "run")
    train_model(recipe, tiny_data, run, resume=False, force=False, stop_at=7)
    train_model(recipe, tiny_data, run, resume=True, force=False)
    ours, theirs = (
        [line["loss"] for line in read_metrics(directory.metrics) if line["kind"] == "train"]
        for directory in (run, tiny_run)
    )
    assert ours[0] == pytest.approx(theirs[-1], abs=0.4)
    assert ours[0] < theirs[0] - 0.5
    expected, _ = load_initial(tiny_run.root, built(tiny), WORLD)
    assert json.loads(run.record.read_text())["inputs"]["initial_weights"] == expected
    assert read_header(list_checkpoints(run)[-1][1])[0].initial_weights == expected


def test_another_decoder_is_refused_with_the_setting_that_differs(tiny: Recipe, tiny_run: RunDir):
    other = tiny.model_copy(update={"model": tiny.model.model_copy(update={"norm_eps": 1e-3})})
    for source in (tiny_run.root, list_checkpoints(tiny_run)[0][1]):
        with pytest.raises(CheckpointError, match="is of another decoder than the recipe's: it has norm_eps"):
            load_initial(source, built(other), WORLD)


def test_another_rotary_base_is_taken_and_said(tiny: Recipe, tiny_run: RunDir):
    other = tiny.model_copy(update={"model": tiny.model.model_copy(update={"rope_theta": 5e5})})
    _, differs = load_initial(tiny_run.root, built(other), WORLD)
    assert differs == ["rope_theta = 10000.0, not 500000.0"]


def test_a_directory_without_weights_is_refused_with_what_can_be_given(tiny: Recipe, tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"train\.init_from = .*: holds no weights to begin with"):
        load_initial(tmp_path, built(tiny), WORLD)


def test_damaged_weights_are_found(tiny: Recipe, tiny_run: RunDir, tmp_path: Path):
    shutil.copytree(tiny_run.model, tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: is damaged"):
        load_initial(tmp_path / "model", built(tiny), WORLD)
