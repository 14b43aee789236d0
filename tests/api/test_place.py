"""Which files are meant by a run at any moment, and what every command makes of them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

import puna
from puna.api.place import find_model, own_name
from puna.cli.app import app
from puna.core.errors import CheckpointError, DataError, FormatError, StorageError
from puna.core.layout import DataDir, RunDir
from puna.core.records import read_record
from puna.core.schema.train_state import directory_of, list_checkpoints, read_header

GREEDY: dict[str, Any] = {"max_tokens": 8, "temperature": 0}


@pytest.fixture(scope="module")
def unfinished(tiny_run: RunDir, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """The tiny run as it was before its end. Read it, do not change it."""
    run = RunDir(tmp_path_factory.mktemp("unfinished") / "half")
    run.root.mkdir()
    for path in (tiny_run.config, tiny_run.metrics, tiny_run.data_card):
        shutil.copy(path, run.root)
    for path in (tiny_run.tokenizer, tiny_run.checkpoints):
        shutil.copytree(path, run.root / path.name)
    return run


@pytest.fixture(scope="module")
def first(unfinished: RunDir) -> int:
    """The step of its oldest checkpoint."""
    return list_checkpoints(unfinished)[0][0]


def weights_of(model: puna.LanguageModel) -> dict[str, torch.Tensor]:
    return dict(model.model.named_parameters())


def test_an_unfinished_run_is_its_newest_checkpoint_which_is_said(
    unfinished: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    step, newest = list_checkpoints(unfinished)[-1]
    assert find_model(unfinished) == newest
    said = capsys.readouterr().err
    assert said == f"{unfinished}: step-{step}, the newest checkpoint of an unfinished run\n"
    assert find_model(f"{unfinished}@step-{step}") == newest
    assert find_model(newest) == newest
    assert capsys.readouterr().err == ""


def test_a_finished_run_is_its_model_and_what_is_not_a_run_is_itself(tiny_run: RunDir, tmp_path: Path) -> None:
    assert find_model(tiny_run) == find_model(tiny_run.model) == tiny_run.model
    assert find_model(tmp_path / "absent") == tmp_path / "absent"
    with pytest.raises(StorageError, match="cannot be looked up"):
        find_model("n" * 300 + "@5")


def test_a_misspelt_run_is_said_to_be_missing_and_is_not_looked_for_on_the_hub(
    unfinished: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(unfinished.root.parents[1])
    runs = unfinished.root.parent.name
    with pytest.raises(FormatError, match=f"{runs}/hlaf@last: is not there"):
        puna.load(f"{runs}/hlaf@last")


def test_names_have_the_step(unfinished: RunDir, first: int) -> None:
    assert own_name(f"{unfinished}@{first}") == own_name(directory_of(unfinished, first)) == f"half-step-{first}"
    assert own_name("owner/name@main") == "name"


def test_the_last_checkpoint_of_a_finished_run_is_its_model_bit_for_bit(tiny_run: RunDir) -> None:
    last, model = puna.load(f"{tiny_run}@last"), puna.load(tiny_run)
    assert last.path != model.path
    assert last.generate("The people", **GREEDY) == model.generate("The people", **GREEDY)
    found, expected = weights_of(last), weights_of(model)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_moment_has_the_weights_of_its_state(unfinished: RunDir, first: int) -> None:
    model = puna.load(f"{unfinished}@step-{first}")
    saved = load_file(next(directory_of(unfinished, first).glob("*.safetensors")))
    found = weights_of(model)
    assert {f"model.{name}" for name in found} == {name for name in saved if name.startswith("model.")}
    assert all(torch.equal(tensor, saved[f"model.{name}"]) for name, tensor in found.items())


def test_damage_is_found_before_an_answer(unfinished: RunDir, first: int, tmp_path: Path) -> None:
    run = RunDir(shutil.copytree(unfinished.root, tmp_path / "run"))
    file = next(directory_of(run, first).glob("*.safetensors"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="is damaged, its SHA-256"):
        puna.load(f"{run}@{first}")
    with pytest.raises(CheckpointError, match="is damaged, its SHA-256"):
        puna.export(f"{run}@{first}", "hf", quick=True)
    assert not run.exports.exists()


def test_an_export_of_a_moment_lies_in_the_run_and_its_proof_names_the_step(
    unfinished: RunDir, first: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunDir(shutil.copytree(unfinished.root, tmp_path / "half"))
    exported = puna.export(f"{run}@{first}", "gguf", quick=True)
    assert exported.path == run.exports / f"gguf-step-{first}"
    assert exported.proof.step == first
    assert exported.proof.weights.identical == exported.proof.weights.tensors == 21
    assert f"model: the checkpoint of step {first}\n" in capsys.readouterr().err
    record = read_record(exported.path / "equivalence.json")
    assert record is not None
    assert record["results"]["step"] == first
    assert record["inputs"] == read_header(directory_of(run, first))[1]
    text = puna.load(f"{run}@{first}").generate("The people", **GREEDY)
    assert puna.load(exported.path).generate("The people", **GREEDY) == text
    rounded = puna.export(run, "llama", dtype="bfloat16")
    assert rounded.path == run.exports / f"llama-step-{list_checkpoints(run)[-1][0]}"


def test_a_moment_is_imported_as_a_plain_model(
    unfinished: RunDir, first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = puna.import_model(f"{unfinished}@{first}")
    assert model == Path("models") / f"half-step-{first}"
    found, expected = weights_of(puna.load(model)), weights_of(puna.load(f"{unfinished}@{first}"))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_commands_take_a_moment(unfinished: RunDir, first: int) -> None:
    place = f"{unfinished}@{first}"
    shown = CliRunner().invoke(app, ["inspect", place, "--json"])
    assert json.loads(shown.stdout)["step"] == first
    assert json.loads(shown.stdout)["tokenizer"]["vocab_size"] == 512
    assert f"step           {first}\n" in CliRunner().invoke(app, ["inspect", place]).stdout
    written = CliRunner().invoke(app, ["generate", place, "The people", "--max-tokens", "3"])
    assert written.exit_code == 0
    assert written.stdout.startswith("The people")


def test_a_run_at_a_step_that_it_has_not_is_a_sentence(unfinished: RunDir, first: int) -> None:
    for command in (puna.load, puna.inspect, puna.import_model, lambda place: puna.export(place, "hf")):
        with pytest.raises(CheckpointError, match="has no checkpoint of step 3") as caught:
            command(f"{unfinished}@3")
        assert f"there are steps {first}, " in caught.value.hint


def test_a_run_and_a_data_build_are_not_taken_for_each_other(tiny: Any, tiny_run: RunDir, tiny_data: DataDir) -> None:
    with pytest.raises(DataError, match="holds a training run, not a data build"):
        puna.train(tiny, tiny_run, tiny_run.root / "new")
    with pytest.raises(CheckpointError, match="holds a data build, not a training run"):
        puna.train(tiny, tiny_data, tiny_data.root, force=True)
    with pytest.raises(CheckpointError, match="holds the model of a run, not a training run"):
        puna.run(tiny, tiny_run.root / "not-built", tiny_run.model)
    assert tiny_data.record.is_file()
    assert not (tiny_run.root / "not-built").exists()
