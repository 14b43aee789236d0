"""The proof of exact resume, and that it can fail."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import puna
from puna.cli.app import app
from puna.config.load import save_recipe
from puna.core.errors import CheckpointError, TrainError
from puna.core.layout import DataDir, RunDir
from puna.train import verify as verifying
from puna.train.verify import verify


def test_finished_run_resumes_exactly_on_two_processes(
    tiny_run: RunDir, tiny_data: DataDir, capsys: pytest.CaptureFixture[str]
):
    before = sorted((path, path.stat().st_mtime_ns) for path in tiny_run.root.rglob("*"))
    verify(tiny_run.root, str(tiny_data.root), steps=4, processes=2)
    assert "4 losses are the same bits: resume is exact here" in capsys.readouterr().err
    assert sorted((path, path.stat().st_mtime_ns) for path in tiny_run.root.rglob("*")) == before


def test_a_branch_that_was_made_longer_resumes_exactly_on_one_process(
    tiny_run: RunDir, tiny_data: DataDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = RunDir(tmp_path / "branch")
    puna.train(data=tiny_data, run=run, branch_from=f"{tiny_run}@20", stop_at=21)
    puna.train(run, tiny_data, extend="1.5x", stop_at=22)
    verify(run.root, str(tiny_data.root), steps=4, processes=1)
    said = capsys.readouterr().err
    assert "steps 23 to 26, straight through and killed after step 24" in said
    assert "4 losses are the same bits: resume is exact here" in said


def test_a_tuned_run_is_compared_by_the_examples_that_it_has_whatever_lies_in_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run, builds = RunDir(tmp_path / "run"), []
    source = {"path": "talks.jsonl", "include": ["*"], "format": "conversations", "licence": "CC0-1.0"}
    sources = source | {"heldout_fraction": 0.1}
    changes = {"data.sources": {"talks": sources}, "mixture": {"talks": 1.0}, "train.init_from": "base"}
    run.root.mkdir()
    save_recipe(puna.recipe("chat", changes), run.config)
    monkeypatch.setattr(verifying, "_train", lambda copy, data, end, processes: builds.append(Path(data)))
    monkeypatch.setattr(verifying, "_kill_after", lambda *_: None)
    monkeypatch.setattr(verifying, "_compare", lambda *_: (1, 1, 1))
    result = CliRunner().invoke(app, ["verify-resume", str(run)])
    assert result.exit_code == 0, result.output
    assert len(builds) == 2
    assert all(build.parent.name.startswith(".puna-verify-") for build in builds)


@pytest.mark.parametrize("change", ["weight", "loss"])
def test_one_changed_bit_is_found(tiny_run: RunDir, tmp_path: Path, change: str):
    whole, killed = RunDir(tmp_path / "whole"), RunDir(tmp_path / "killed")
    for copy in (whole, killed):
        shutil.copytree(tiny_run.root, copy.root)
    assert verifying._compare(whole, killed, 24)[2] == 24
    if change == "loss":
        text = killed.metrics.read_text()
        killed.metrics.write_text(text.replace('"loss": ', '"loss": 1', 1))
        expected = "the loss of step 1 differs"
    else:
        (file,) = (killed.checkpoints / "step-00000024").glob("*.safetensors")
        tensors = load_file(file)
        tensors["model.norm.weight"] = torch.nextafter(tensors["model.norm.weight"], torch.tensor(9.0))
        save_file(tensors, file)
        expected = r"model\.norm\.weight differs by"
    with pytest.raises(CheckpointError, match=expected):
        verifying._compare(whole, killed, 24)


def test_what_cannot_be_compared_is_refused(tiny_run: RunDir, tiny_data: DataDir, tmp_path: Path):
    with pytest.raises(CheckpointError, match="is not a run of Puna"):
        verify(tmp_path, str(tiny_data.root), steps=4, processes=1)
    with pytest.raises(TrainError, match="too few to compare 24"):
        verify(tiny_run.root, str(tiny_data.root), steps=24, processes=1)
    with pytest.raises(TrainError, match="no finished data build"):
        verify(tiny_run.root, str(tmp_path), steps=4, processes=1)
