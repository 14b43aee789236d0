"""One run through several layouts: its checkpoints are read in any of them, and its losses are those of one process."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import load_file
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

import puna
from puna.config.recipe import Recipe, SamplesConfig
from puna.core.layout import DataDir, RunDir
from puna.core.metrics import read_metrics
from puna.core.schema.train_state import list_checkpoints
from puna.model.checkpoint_weights import CheckpointWeights

GROUPED = ["model.n_kv_heads=2", "samples.prompts=[]"]


def _train(toml: Path, data: DataDir, run: RunDir, processes: int, *arguments: str) -> str:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *launcher, "-m", "puna", "train", str(toml)]
    command += ["--data-dir", str(data.root), "--run-dir", str(run.root), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stderr


def _train_here(recipe: Recipe, data: DataDir, run: RunDir, **options: Any) -> None:
    """In this process, which saves the start of another."""
    grouped = {"model": recipe.model.model_copy(update={"n_kv_heads": 2}), "samples": SamplesConfig()}
    puna.train(recipe.model_copy(update=grouped), data, run, **options)


def _losses(run: RunDir) -> dict[int, float]:
    return {line["step"]: line["loss"] for line in read_metrics(run.metrics) if line["kind"] == "train"}


def _check_weights_in_place(checkpoint: Path) -> None:
    """The weights of a checkpoint of several processes are those that torch.distributed.checkpoint reads."""
    assert len(list(checkpoint.glob("*.safetensors"))) == 4
    with CheckpointWeights(checkpoint) as stored:
        whole = {f"model.{name}": torch.empty(stored.shape(name)) for name in stored.names}
        with pytest.warns(UserWarning, match="torch.distributed is disabled"):
            dcp.load(whole, storage_reader=HuggingFaceStorageReader(str(checkpoint)), no_dist=True)
        for name in stored.names:
            assert torch.equal(stored.tensor(name), whole[f"model.{name}"]), name


def test_run_goes_on_in_other_layouts(tiny: Recipe, tiny_toml: Path, tiny_data: DataDir, tmp_path: Path):
    """Tensor parallel on two, tensor and sharded on four, alone, context parallel on two: one run."""
    alone, moved = RunDir(tmp_path / "alone"), RunDir(tmp_path / "moved")
    _train_here(tiny, tiny_data, alone)
    _train(tiny_toml, tiny_data, moved, 2, *GROUPED, "parallel.tensor=2", "--stop-at", "7")
    changed = ["parallel.tensor=2", "train.micro_batch_tokens=64", "train.recompute=llama"]
    said = _train(tiny_toml, tiny_data, moved, 4, *GROUPED, *changed, "--resume", "--stop-at", "13")
    assert "weights will be equal to rounding, not bit for bit" in said
    _check_weights_in_place(list_checkpoints(moved)[-1][1])
    _train_here(tiny, tiny_data, moved, resume=True, stop_at=17)
    _train(tiny_toml, tiny_data, moved, 2, *GROUPED, "parallel.context=2", "--resume")
    assert _losses(moved) == pytest.approx(_losses(alone), abs=1e-4)
    ours, theirs = (load_file(run.model / "model.safetensors") for run in (moved, alone))
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=0, atol=2e-3)
    records = [json.loads(run.record.read_text())["results"] for run in (moved, alone)]
    assert records[0]["final"]["bits_per_byte"] == pytest.approx(records[1]["final"]["bits_per_byte"], abs=1e-3)
    assert records[0]["source_tokens"] == records[1]["source_tokens"]
    assert (records[0]["devices"], records[1]["devices"]) == (2, 1)


def test_missing_shard_of_one_process_is_named(tiny_toml: Path, tiny_data: DataDir, tmp_path: Path):
    run = RunDir(tmp_path / "run")
    _train(tiny_toml, tiny_data, run, 2, *GROUPED, "--stop-at", "5")
    (_, path), *_ = list_checkpoints(run)
    shards = sorted(path.glob("*.safetensors"))
    assert len(shards) == 2
    shutil.move(shards[1], tmp_path / "elsewhere")
    command = [sys.executable, "-m", "puna", "train", str(tiny_toml), *GROUPED, "--resume"]
    command += ["--data-dir", str(tiny_data.root), "--run-dir", str(run.root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert f"{shards[1].name}: is missing" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("parallel.tensor=2", "but the number of processes is 1"),
        ("parallel.tensor=3", "model.n_heads = 2 is not a multiple of parallel.tensor = 3"),
        ("parallel.context=3", "is not a multiple of 2 x parallel.context x parallel.tensor = 6"),
    ],
)
def test_layout_that_cannot_be_is_refused_before_the_first_step(
    tiny_toml: Path, tiny_data: DataDir, tmp_path: Path, override: str, sentence: str
):
    run = RunDir(tmp_path / "run")
    command = [sys.executable, "-m", "puna", "train", str(tiny_toml), *GROUPED, override]
    command += ["--data-dir", str(tiny_data.root), "--run-dir", str(run.root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert not run.metrics.exists()
