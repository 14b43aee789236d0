"""Which files of a checkpoint hold weights, and that each is the one that was written."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from cut_checkpoints import write_checkpoint
from safetensors.torch import load_file, save_file

from puna.config.recipe import ModelConfig
from puna.core.errors import CheckpointError
from puna.core.files import sha256_file
from puna.core.layout import RunDir
from puna.core.schema.train_state import TrainState, read_header, write_state
from puna.model.checkpoint_files import check_weights, decoder_of, read_chunks

SMALL = ModelConfig(dim=8, n_layers=1, n_heads=2, n_kv_heads=1, ffn_dim=16, vocab_size=260, context=8)
TENSORS = {"matrix": torch.arange(48.0).view(6, 8), "gain": torch.arange(8.0)}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(RunDir(tmp_path / "run"), TENSORS, SMALL, files=3)


def with_file(checkpoint: Path, name: str, **metadata: str) -> None:
    """Write a file of the checkpoint again, with other texts in its header and a hash that fits."""
    save_file(load_file(checkpoint / name), checkpoint / name, metadata=metadata)
    state, hashes = read_header(checkpoint)
    write_state(checkpoint, state, hashes | {name: sha256_file(checkpoint / name)})


def test_chunks_are_the_rectangles_that_were_written(checkpoint: Path) -> None:
    found = read_chunks(checkpoint, read_header(checkpoint)[1])
    assert found.keys() == TENSORS.keys()
    for name, chunks in found.items():
        for chunk in chunks:
            region = tuple(slice(at, at + size) for at, size in zip(chunk.offset, chunk.shape, strict=True))
            assert torch.equal(load_file(chunk.file)[f"model.{name}"], TENSORS[name][region])
            assert chunk.dtype == "F32"
        assert sum(torch.Size(chunk.shape).numel() for chunk in chunks) == TENSORS[name].numel()


def test_a_changed_bit_of_a_weight_is_found(checkpoint: Path) -> None:
    check_weights(checkpoint)
    file = read_chunks(checkpoint, read_header(checkpoint)[1])["gain"][0].file
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"shard-.*: is damaged, its SHA-256 is not the one written with it"):
        check_weights(checkpoint)


def test_files_of_the_optimizer_alone_are_not_hashed(checkpoint: Path) -> None:
    name = "shard-00009-model-00001-of-00001.safetensors"
    other = checkpoint / name
    save_file({"optim.x": torch.zeros(2)}, other, metadata={"DCP_SHARDING_INFO": '{"optim.x": {"saved_offsets": [0]}}'})
    state, hashes = read_header(checkpoint)
    write_state(checkpoint, state, hashes | {name: "0" * 64})
    check_weights(checkpoint)


def test_a_missing_file_is_named(checkpoint: Path) -> None:
    file = sorted(checkpoint.glob("*.safetensors"))[1]
    file.unlink()
    with pytest.raises(CheckpointError, match=f"{file.name}: is missing"):
        check_weights(checkpoint)


@pytest.mark.parametrize(
    "places", ["", "{", "[]", "{}", '{"optim.0.step": {}, "model.matrix": {"saved_offsets": [0]}}',
               '{"model.matrix": {"saved_offsets": ["a", 0]}, "model.gain": {"saved_offsets": [-1]}}'],
)  # fmt: skip
def test_a_file_that_does_not_say_where_its_tensors_lie_is_refused(tmp_path: Path, places: str) -> None:
    checkpoint = write_checkpoint(RunDir(tmp_path), TENSORS, SMALL)
    name = next(checkpoint.glob("*.safetensors")).name
    with_file(checkpoint, name, **({"DCP_SHARDING_INFO": places} if places else {"other": "text"}))
    with pytest.raises(CheckpointError, match="is not a readable file of a checkpoint"):
        check_weights(checkpoint)


def test_a_truncated_file_is_refused(checkpoint: Path) -> None:
    file = next(checkpoint.glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match="is not a readable file of a checkpoint"):
        check_weights(checkpoint)


def test_a_name_outside_of_the_checkpoint_is_refused(checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match="is missing"):
        read_chunks(checkpoint, {"../state.json": "0" * 64})


def test_a_checkpoint_that_a_run_has_removed_is_said_to_be_gone(checkpoint: Path) -> None:
    shutil.rmtree(checkpoint)
    with pytest.raises(CheckpointError, match="step-00000005: was removed meanwhile, by a run that goes on") as caught:
        check_weights(checkpoint)
    assert "RUN@last" in caught.value.hint


def test_one_that_is_removed_while_it_is_read_is_said_to_be_gone(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def removing(directory: Path) -> tuple[TrainState, dict[str, str]]:
        header = read_header(directory)
        shutil.rmtree(directory)
        return header

    monkeypatch.setattr("puna.model.checkpoint_files.read_header", removing)
    with pytest.raises(CheckpointError, match="was removed meanwhile"):
        check_weights(checkpoint)


def test_the_decoder_is_that_of_the_recipe(checkpoint: Path) -> None:
    assert decoder_of(checkpoint, read_header(checkpoint)[0]) == SMALL


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [({}, r"its recipe has no \[model\]"), ({"model": {"dim": "wide"}}, r"state\.json: model\.dim: ")],
)
def test_a_recipe_without_a_decoder_is_refused(checkpoint: Path, recipe: dict[str, object], sentence: str) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        decoder_of(checkpoint, TrainState(recipe=recipe))


def test_the_header_is_json_that_names_every_file(checkpoint: Path) -> None:
    names = {file.name for file in checkpoint.glob("*.safetensors")}
    assert json.loads((checkpoint / "state.json").read_text())["sha256"].keys() == names
