"""Checkpoints: exact, whole or absent, checked before they are believed, free of pickle."""

import errno
import json
from pathlib import Path

import pytest
import torch

from puna.config.recipe import ModelConfig, OptimConfig
from puna.core.errors import CheckpointError, StorageError
from puna.core.layout import RunDir
from puna.model.init import init_weights
from puna.model.llama import Llama
from puna.train import checkpoint
from puna.train.checkpoint import TrainState, list_checkpoints, load_tensors, read_state, save_checkpoint, tensors
from puna.train.optimizer import build_optimizer

SMALL = ModelConfig(dim=8, n_layers=2, n_heads=2, n_kv_heads=1, ffn_dim=16, vocab_size=260, context=8)


def _trained(config: ModelConfig = SMALL, steps: int = 3) -> tuple[Llama, torch.optim.AdamW]:
    model = Llama(config)
    init_weights(model, seed=1)
    optimizer = build_optimizer(model, OptimConfig(lr=1e-2))
    for step in range(steps):
        model(torch.arange(8)[None] + step).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, optimizer


@pytest.mark.parametrize("tied", [False, True])
def test_read_state_is_the_written_one_bit_for_bit(tmp_path: Path, tied: bool):
    config = SMALL.model_copy(update={"tie_embeddings": tied})
    model, optimizer = _trained(config)
    written = TrainState(step=3, train_seconds=1.5, wall_seconds=2.5, sessions=2, data_fingerprint="f", recipe={"a": 1})
    path = save_checkpoint(RunDir(tmp_path), written, model, optimizer, keep=2)
    fresh = Llama(config)
    init_weights(fresh, seed=2)
    fresh_optimizer = build_optimizer(fresh, OptimConfig(lr=1e-2))
    assert read_state(path) == written
    load_tensors(path, fresh, fresh_optimizer)
    before, after = tensors(model, optimizer), tensors(fresh, fresh_optimizer)
    assert before.keys() == after.keys()
    assert len(before) == 4 * len(list(model.parameters()))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_only_the_newest_are_kept(tmp_path: Path):
    run, (model, optimizer) = RunDir(tmp_path), _trained()
    for step in (5, 10, 15):
        save_checkpoint(run, TrainState(step=step), model, optimizer, keep=2)
    assert [step for step, _ in list_checkpoints(run)] == [10, 15]


def test_files_are_safetensors_and_json_only(tmp_path: Path):
    path = save_checkpoint(RunDir(tmp_path), TrainState(step=1), *_trained(), keep=1)
    assert {file.suffix for file in path.iterdir()} == {".safetensors", ".json"}


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_damaged_shard_is_refused_and_the_older_checkpoint_offered(tmp_path: Path, damage: str):
    run, (model, optimizer) = RunDir(tmp_path), _trained()
    save_checkpoint(run, TrainState(step=5), model, optimizer, keep=2)
    path = save_checkpoint(run, TrainState(step=10), model, optimizer, keep=2)
    shard = next(path.glob("*.safetensors"))
    content = bytearray(shard.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
        shard.write_bytes(content)
    elif damage == "truncate":
        shard.write_bytes(content[:-100])
    else:
        shard.unlink()
    with pytest.raises(CheckpointError) as caught:
        read_state(path)
    assert shard.name in caught.value.message
    assert "older checkpoint of step 5" in caught.value.hint


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "[]", '{"format": "puna-checkpoint"}',
        '{"format": "puna-checkpoint", "version": 1, "sha256": {}, "state": {"step": "five"}}',
        '{"format": "puna-checkpoint", "version": 1, "sha256": {}, "state": []}',
    ],
)  # fmt: skip
def test_damaged_state_is_refused(tmp_path: Path, content: str):
    path = save_checkpoint(RunDir(tmp_path), TrainState(step=1), *_trained(), keep=1)
    (path / "state.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"state\.json is missing or damaged"):
        read_state(path)


def test_checkpoint_of_another_version_is_refused(tmp_path: Path):
    path = save_checkpoint(RunDir(tmp_path), TrainState(step=1), *_trained(), keep=1)
    header = json.loads((path / "state.json").read_text()) | {"version": 99}
    (path / "state.json").write_text(json.dumps(header))
    with pytest.raises(CheckpointError, match="version 99"):
        read_state(path)


def test_full_disk_leaves_the_older_checkpoint_and_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run, (model, optimizer) = RunDir(tmp_path), _trained()
    save_checkpoint(run, TrainState(step=5), model, optimizer, keep=1)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_json", full)
    with pytest.raises(StorageError, match="no space left"):
        save_checkpoint(run, TrainState(step=10), model, optimizer, keep=1)
    assert [path.name for path in run.checkpoints.iterdir()] == ["step-00000005"]
    assert read_state(run.checkpoints / "step-00000005").step == 5
