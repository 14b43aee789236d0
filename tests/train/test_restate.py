"""A checkpoint under another state: the same shards, linked or copied, and the other one untouched."""

import os
from pathlib import Path

import pytest

from puna.core.layout import RunDir
from puna.core.schema.train_state import TrainState, directory_of, read_header, write_state
from puna.train.restate import restate

HASHES = {"shard-1.safetensors": "0" * 64}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    directory = directory_of(RunDir(tmp_path / "run"), 5)
    directory.mkdir(parents=True)
    (directory / "shard-1.safetensors").write_bytes(b"weights")
    write_state(directory, TrainState(step=5), HASHES)
    return directory


def test_another_checkpoint_shares_the_shards_and_has_its_own_state(checkpoint: Path, tmp_path: Path):
    target = directory_of(RunDir(tmp_path / "other"), 10)
    restate(checkpoint, target, TrainState(step=10, sessions=3), HASHES)
    assert read_header(target) == (TrainState(step=10, sessions=3), HASHES)
    assert read_header(checkpoint)[0] == TrainState(step=5)
    assert os.path.samefile(target / "shard-1.safetensors", checkpoint / "shard-1.safetensors")


def test_a_checkpoint_is_replaced_in_place(checkpoint: Path):
    restate(checkpoint, checkpoint, TrainState(step=5, sessions=3), HASHES)
    assert read_header(checkpoint) == (TrainState(step=5, sessions=3), HASHES)
    assert (checkpoint / "shard-1.safetensors").read_bytes() == b"weights"
    assert [path.name for path in checkpoint.parent.iterdir()] == [checkpoint.name]


def test_shards_are_copied_where_they_cannot_be_linked(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(source: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    target = directory_of(RunDir(tmp_path / "other"), 5)
    restate(checkpoint, target, TrainState(step=5), HASHES)
    assert (target / "shard-1.safetensors").read_bytes() == b"weights"
    assert not os.path.samefile(target / "shard-1.safetensors", checkpoint / "shard-1.safetensors")
