"""Checkpoints that hold only what learns are read together with the model that they were trained on."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tuned import RECIPE, write_base, write_talks

import puna
from puna.core.errors import CheckpointError
from puna.core.layout import RunDir
from puna.core.metrics import read_metrics
from puna.core.schema.train_state import directory_of, list_checkpoints
from puna.formats.checkpoint import Checkpoint, Hints
from puna.formats.moment.read import open_moment
from puna.formats.peft.read import read_adapter
from puna.formats.tuned_moment import TunedMoment, with_base
from puna.ops.bits import same_bits

Make = Callable[..., RunDir]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Makes a run with some values in its recipe, in a directory of its own beside its base."""
    first = tmp_path_factory.mktemp("first")
    (first / "recipe.toml").write_text(RECIPE)
    base, talks = write_base(first / "base"), write_talks(first / "talks.jsonl")

    def run(values: dict[str, Any]) -> RunDir:
        place = tmp_path_factory.mktemp("tuned")
        shutil.copytree(base, place / "base")
        recipe = puna.recipe(first / "recipe.toml", {"finetune.epochs": 1, "optim.lr": 3e-2} | values)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(place)
            puna.finetune(recipe, talks, "run", model="base", build=first / "data")
        return RunDir(place / "run")

    return run


@pytest.fixture(scope="module")
def run(make: Make) -> RunDir:
    """A run with low-rank updates, trained to its end. Read it, do not change it."""
    return make({"finetune.method": "lora"})


def last(run: RunDir) -> Checkpoint:
    return with_base(open_moment(list_checkpoints(run)[-1][1], Hints()))


def same_as_finished(run: RunDir) -> bool:
    """Whether the last checkpoint, with its base, has the weights of the finished model, bit for bit."""
    found, finished = last(run), load_file(run.model / "model.safetensors")
    found.check_complete()
    assert isinstance(found, TunedMoment)
    assert found.weights.keys() == finished.keys()
    return all(same_bits(found.tensor(name), tensor) for name, tensor in finished.items())


@pytest.mark.parametrize(
    "values",
    [
        {"finetune.method": "lora", "finetune.lora.dora": True},
        {"finetune.method": "lora", "finetune.lora.rank_stabilised": True, "train.precision": "bf16"},
        {"finetune.freeze": ["layers.0.*"]},
    ],
    ids=["dora", "rslora and bf16", "frozen"],
)
def test_weights_of_the_last_moment_are_those_of_the_finished_model(make: Make, values: dict[str, Any]) -> None:
    assert same_as_finished(make(values))


def test_it_answers_from_another_directory_and_where_run_and_base_were_moved(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(run.root.parent, tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    question = [{"role": "user", "content": "What is 4 and 5?"}]
    places = (run, f"{run}@last", "moved/run@last", "moved/run/adapter")
    texts = [puna.load(place).chat(question, max_tokens=8, temperature=0) for place in places]
    assert texts == [texts[0]] * 4
    assert read_adapter(Path("moved/run/adapter")).base == "moved/base"


def test_it_is_exported_and_imported(run: RunDir, tmp_path: Path) -> None:
    puna.export(f"{run}@last", "hf", tmp_path / "hf", quick=True)
    puna.import_model(list_checkpoints(run)[-1][1], tmp_path / "again")
    finished = load_file(run.model / "model.safetensors")
    again = load_file(tmp_path / "again/model.safetensors")
    assert all(same_bits(again[name], tensor) for name, tensor in finished.items())
    exported = puna.load(tmp_path / "hf").model
    assert exported is not None
    assert all(same_bits(tensor.detach(), finished[name]) for name, tensor in exported.named_parameters())


def test_another_run_begins_with_it(run: RunDir, tmp_path: Path) -> None:
    recipe = puna.recipe(run.config, {"finetune.method": "full"})
    after = puna.finetune(
        recipe, run=tmp_path / "after", model=f"{run}@last", build=run.root.parents[1] / "first0/data", stop_at=1
    )
    first = next(line for line in read_metrics(after.metrics) if line["kind"] == "validation")
    final = next(line for line in read_metrics(run.metrics) if line["kind"] == "validation" and line["final"])
    assert first["step"] == 0
    assert first["loss"]["examples"] == pytest.approx(final["loss"]["examples"], abs=1e-5)


def test_an_adapter_trained_on_it_knows_it_again_and_is_merged_into_it(
    run: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, moment = run.root.parents[1] / "first0/data", f"{run}@last"
    recipe = puna.recipe(run.config)
    after = puna.finetune(recipe, run=tmp_path / "after", model=moment, build=data)
    capsys.readouterr()
    merged = puna.import_model(after.adapter, tmp_path / "merged", base=moment)
    for place, adapter in ((moment, after), (after.adapter, None), (f"{after}@last", None), (merged, None)):
        puna.load(place, adapter=adapter)
    assert "was trained on other weights" not in capsys.readouterr().err
    exact, found = load_file(after.model / "model.safetensors"), load_file(merged / "model.safetensors")
    assert all(same_bits(found[name], tensor) for name, tensor in exact.items())
    puna.load(run.model, adapter=after.adapter)  # the same weights in another form, of which nothing says that
    assert "was trained on other weights" in capsys.readouterr().err


def test_it_is_told_as_what_learns_and_nothing_as_missing(run: RunDir) -> None:
    found = puna.inspect(f"{run}@last")
    assert (found.missing, found.extra) == ([], [])
    (told,) = (line for line in str(found).splitlines() if line.startswith("weights"))
    assert told == (
        "weights        only what learns: 2 whole tensors and 28 tensors of updates; the other 19 tensors are those of "
        f"{run.root.parent / 'base'}"
    )
    assert "missing" not in str(found)
    assert "not a LLaMA's" not in str(found)
    told_to_programs = found.as_dict()
    assert told_to_programs["base"] == str(run.root.parent / "base")
    assert (told_to_programs["missing"], told_to_programs["extra"]) == ([], [])
    assert puna.inspect(run).as_dict()["base"] is None


def test_another_base_is_refused(run: RunDir, tmp_path: Path) -> None:
    shutil.copytree(run.root.parent, tmp_path / "copy")
    copy = RunDir(tmp_path / "copy/run")
    record = json.loads((tmp_path / "copy/base/record.json").read_bytes())
    shutil.copytree(run.model, tmp_path / "copy/base", dirs_exist_ok=True)
    assert json.loads((tmp_path / "copy/base/record.json").read_bytes()) != record
    with pytest.raises(CheckpointError, match=r"copy/base: is not the model that .* was trained on"):
        last(copy)


def test_a_base_that_is_gone_is_named(run: RunDir, tmp_path: Path) -> None:
    shutil.copytree(run.root, tmp_path / "alone/run")
    with pytest.raises(CheckpointError, match=r"holds only what learns, and its base .*alone/base' is not there"):
        last(RunDir(tmp_path / "alone/run"))


def test_updates_of_a_quantized_base_are_not_merged(make: Make) -> None:
    quantized = make({"finetune.method": "lora", "finetune.base": "int8"})
    with pytest.raises(CheckpointError, match="on a base of int8, which is not merged into a model") as caught:
        last(quantized)
    assert "--resume" in caught.value.hint


def test_a_checkpoint_of_all_weights_is_left_as_it_is(make: Make) -> None:
    full = make({})
    opened = open_moment(directory_of(full, list_checkpoints(full)[-1][0]), Hints())
    assert with_base(opened) is opened
    assert opened.tensor("norm.weight").dtype == torch.float32
