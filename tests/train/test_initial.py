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
from puna.train.checkpoint import tensors
from puna.train.initial import _Grown, keep_optimizer, load_initial
from puna.train.optimizer import build_optimizer

WORLD = World(0, 1, torch.device("cpu"), None)


def built(recipe: Recipe):
    return build_model(recipe, build_mesh(recipe.parallel, WORLD), WORLD.device, drawn=False)


def test_weights_of_a_finished_run_are_those_of_its_model(tiny: Recipe, tiny_run: RunDir):
    weights = load_file(tiny_run.model / "model.safetensors")
    for source in (tiny_run.root, tiny_run.model):
        model = built(tiny)
        initial = load_initial(source, model, WORLD)
        assert len(initial.parent.weights) == 64
        assert (initial.differs, initial.new_rows) == ([], 0)
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
    digest = load_initial(tmp_path, model, WORLD).parent.weights
    newest = list_checkpoints(tiny_run)[-1][1]
    assert digest == load_initial(newest, built(tiny), WORLD).parent.weights


def test_a_moment_is_named_by_its_step(tiny: Recipe, tiny_run: RunDir, capsys: pytest.CaptureFixture[str]):
    step, path = list_checkpoints(tiny_run)[0]
    expected = load_initial(path, built(tiny), WORLD).parent.weights
    named = load_initial(f"{tiny_run}@step-{step}", built(tiny), WORLD)
    assert (named.parent.weights, named.differs) == (expected, [])
    assert capsys.readouterr().err == ""
    last = load_initial(f"{tiny_run}@last", built(tiny), WORLD).parent.weights
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
    expected = load_initial(tiny_run.root, built(tiny), WORLD).parent.weights
    assert json.loads(run.record.read_text())["inputs"]["initial_weights"] == expected
    assert read_header(list_checkpoints(run)[-1][1])[0].initial_weights == expected


def test_another_decoder_is_refused_with_the_setting_that_differs(tiny: Recipe, tiny_run: RunDir):
    other = tiny.model_copy(update={"model": tiny.model.model_copy(update={"norm_eps": 1e-3})})
    for source in (tiny_run.root, list_checkpoints(tiny_run)[0][1]):
        with pytest.raises(CheckpointError, match="is of another decoder than the recipe's: it has norm_eps"):
            load_initial(source, built(other), WORLD)


def test_another_rotary_base_is_taken_and_said(tiny: Recipe, tiny_run: RunDir):
    other = tiny.model_copy(update={"model": tiny.model.model_copy(update={"rope_theta": 5e5})})
    assert load_initial(tiny_run.root, built(other), WORLD).differs == ["rope_theta = 10000.0, not 500000.0"]


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


def test_rows_of_new_tokens_are_the_mean_of_the_old_ones(
    tiny: Recipe, tiny_run: RunDir, capsys: pytest.CaptureFixture[str]
):
    weights = load_file(tiny_run.model / "model.safetensors")
    larger = tiny.model_copy(update={"model": tiny.model.model_copy(update={"vocab_size": 520})})
    for source in (tiny_run.model, list_checkpoints(tiny_run)[-1][1]):
        model = built(larger)
        assert load_initial(source, model, WORLD).new_rows == 8
        for name, parameter in model.named_parameters():
            assert torch.equal(parameter[:512], weights[name]), name
            if len(parameter) == 520:
                mean = weights[name].double().mean(0)
                assert torch.allclose(parameter[512:].double(), mean.expand(8, -1), rtol=1e-6, atol=0), name
    assert "the rows of 8 new tokens are the mean of its others" in capsys.readouterr().err
    fewer = tiny.model_copy(update={"model": tiny.model.model_copy(update={"vocab_size": 500})})
    with pytest.raises(CheckpointError, match="it has vocab_size = 512, not 500"):
        load_initial(tiny_run.model, built(fewer), WORLD)


def test_every_part_of_a_grown_weight_is_that_of_the_whole():
    class Stored:
        tensor = torch.arange(40.0).view(10, 4) ** 3

        def rectangle(self, name: str, offset: tuple[int, int], shape: tuple[int, int]) -> torch.Tensor:
            return self.tensor[offset[0] : offset[0] + shape[0], offset[1] : offset[1] + shape[1]]

    grown = _Grown(Stored(), 10)
    whole = grown.rectangle("output.weight", (0, 0), (16, 4))
    assert torch.equal(whole[:10], Stored.tensor)
    assert torch.equal(whole[10:], Stored.tensor.double().mean(0).float().expand(6, -1))
    for top, left, height, width in [(0, 0, 8, 4), (8, 0, 8, 2), (8, 2, 8, 2), (12, 1, 4, 3), (10, 0, 0, 4)]:
        part = grown.rectangle("output.weight", (top, left), (height, width))
        assert torch.equal(part, whole[top : top + height, left : left + width])


def test_rows_that_pad_a_vocabulary_become_those_of_new_tokens(tiny: Recipe, tiny_run: RunDir):
    weights = load_file(tiny_run.model / "model.safetensors")
    larger = tiny.model_copy(update={"model": tiny.model.model_copy(update={"vocab_size": 516})})
    for recipe, new, rows in ((tiny, range(500, 503), 3), (larger, range(508, 514), 8)):
        model = built(recipe)
        assert load_initial(tiny_run.model, model, WORLD, new_tokens=new).new_rows == rows
        for name in ("tok_embeddings.weight", "output.weight"):
            found, stored = model.get_parameter(name), weights[name]
            mean = stored[: new.start].double().mean(0)
            assert torch.equal(found[: new.start], stored[: new.start])
            assert torch.allclose(found[new.start : new.stop].double(), mean.expand(len(new), -1), rtol=1e-6, atol=0)
            assert torch.equal(found[new.stop : 512], stored[new.stop :])


def test_the_state_of_the_optimizer_comes_along_where_it_is_asked_for(tiny: Recipe, tiny_run: RunDir):
    step, path = list_checkpoints(tiny_run)[0]
    saved = load_file(next(path.glob("*.safetensors")))
    model = built(tiny)
    optimizer = build_optimizer(model, tiny.optim)
    initial = keep_optimizer(load_initial(path, model, WORLD), model, optimizer, tiny, WORLD)
    assert (initial.parent.optimizer, initial.parent.step) == ("kept", step)
    state = tensors(model, optimizer)
    assert state.keys() == saved.keys()
    assert all(torch.equal(state[name], saved[name]) for name in saved)


def test_a_model_has_no_state_of_an_optimizer_to_keep(tiny: Recipe, tiny_run: RunDir):
    model = built(tiny)
    with pytest.raises(CheckpointError, match="is a model, which has no state of an optimizer to keep"):
        keep_optimizer(load_initial(tiny_run, model, WORLD), model, build_optimizer(model, tiny.optim), tiny, WORLD)
    model = built(tiny.model_copy(update={"model": tiny.model.model_copy(update={"vocab_size": 520})}))
    with pytest.raises(CheckpointError, match="its optimizer has no state for 8 new tokens"):
        keep_optimizer(
            load_initial(f"{tiny_run}@last", model, WORLD), model, build_optimizer(model, tiny.optim), tiny, WORLD
        )


@pytest.mark.parametrize(
    ("section", "key", "value"), [("optim", "name", "muon"), ("train", "precision", "bf16-stochastic")]
)
def test_the_state_of_another_kind_of_optimizer_is_refused(
    tiny: Recipe, tiny_run: RunDir, section: str, key: str, value: str
):
    other = tiny.model_copy(update={section: getattr(tiny, section).model_copy(update={key: value})})
    model = built(tiny)
    initial = load_initial(f"{tiny_run}@last", model, WORLD)
    with pytest.raises(CheckpointError, match=rf"state is of another kind: {section}\.{key} = .*, not '{value}'"):
        keep_optimizer(initial, model, build_optimizer(model, tiny.optim), other, WORLD)
