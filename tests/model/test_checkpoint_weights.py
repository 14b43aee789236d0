"""Weights of a checkpoint in files of any layout are those that were cut."""

import shutil
from pathlib import Path

import pytest
import torch
from cut_checkpoints import write_checkpoint
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from puna.config.recipe import ModelConfig
from puna.core.errors import CheckpointError
from puna.core.layout import RunDir
from puna.core.schema.train_state import read_header, write_state
from puna.model.checkpoint_weights import CheckpointWeights

SMALL = ModelConfig(dim=8, n_layers=1, n_heads=2, n_kv_heads=1, ffn_dim=16, vocab_size=260, context=8)
TENSORS = {
    "matrix": torch.arange(77.0).view(7, 11),
    "gain": torch.arange(5.0),
    "half": torch.arange(24.0, dtype=torch.bfloat16).view(4, 6),
}
SHAPES = {name: tuple(tensor.shape) for name, tensor in TENSORS.items()}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(RunDir(tmp_path), TENSORS, SMALL, files=4, seed=3)


@given(seed=st.integers(0, 2**32), files=st.integers(1, 6), data=st.data())
def test_tensors_and_rectangles_are_those_that_were_cut(
    tmp_path_factory: pytest.TempPathFactory, seed: int, files: int, data: st.DataObject
) -> None:
    run = RunDir(tmp_path_factory.mktemp("cut"))
    with CheckpointWeights(write_checkpoint(run, TENSORS, SMALL, files=files, seed=seed)) as stored:
        stored.check(SHAPES)
        assert set(stored.names) == TENSORS.keys()
        for name, tensor in TENSORS.items():
            assert stored.shape(name) == tensor.shape
            assert stored.dtype(name) == tensor.dtype
            assert torch.equal(stored.tensor(name), tensor)
            spans = [sorted(data.draw(st.tuples(*[st.integers(0, size)] * 2))) for size in tensor.shape]
            offset, shape = [begin for begin, _ in spans], [end - begin for begin, end in spans]
            region = tuple(slice(begin, end) for begin, end in spans)
            assert torch.equal(stored.rectangle(name, offset, shape), tensor[region])
    shutil.rmtree(run.root)


def test_it_knows_the_decoder_the_step_and_the_files(checkpoint: Path) -> None:
    with CheckpointWeights(checkpoint) as stored:
        assert (stored.config, stored.state.step) == (SMALL, 5)
        assert set(stored.files) <= set(checkpoint.glob("*.safetensors"))
        assert stored.hashes == read_header(checkpoint)[1]


def test_other_weights_than_a_model_has_are_refused(checkpoint: Path) -> None:
    with CheckpointWeights(checkpoint) as stored:
        with pytest.raises(CheckpointError, match="lacks 1 weights, the first is more"):
            stored.check(SHAPES | {"more": (2,)})
        with pytest.raises(CheckpointError, match="has 1 weights that the model lacks, the first is gain"):
            stored.check({name: shape for name, shape in SHAPES.items() if name != "gain"})
        with pytest.raises(CheckpointError, match=r"gain is \[5\], but its recipe makes it \[6\]"):
            stored.check(SHAPES | {"gain": (6,)})


def test_a_weight_with_a_hole_is_refused(checkpoint: Path) -> None:
    state, hashes = read_header(checkpoint)
    holders = [name for name in hashes if "model.matrix" in load_file(checkpoint / name)]
    assert len(holders) > 1
    write_state(checkpoint, state, {name: digest for name, digest in hashes.items() if name != holders[0]})
    with pytest.raises(CheckpointError, match=r"step-00000005: holds \d+ of the \d+ numbers of"):
        CheckpointWeights(checkpoint)


def test_weights_that_are_whole_numbers_are_refused(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(RunDir(tmp_path), {"matrix": torch.arange(6).view(2, 3)}, SMALL)
    with pytest.raises(CheckpointError, match="matrix is I64, expected one of F32, BF16, F16"):
        CheckpointWeights(checkpoint)


def test_one_that_is_removed_while_it_is_open_is_read_whole(checkpoint: Path) -> None:
    with CheckpointWeights(checkpoint) as stored:
        shutil.rmtree(checkpoint)
        assert torch.equal(stored.tensor("matrix"), TENSORS["matrix"])
    with pytest.raises(CheckpointError, match="was removed meanwhile"):
        CheckpointWeights(checkpoint)


@pytest.mark.parametrize("gone", [False, True])
def test_where_the_system_cannot_read_it_any_more_a_sentence_says_why(checkpoint: Path, gone: bool) -> None:
    class Stale:
        def get_slice(self, name: str) -> None:
            raise OSError("Stale file handle")

    with CheckpointWeights(checkpoint) as stored:
        stored._files = dict.fromkeys(stored.files, Stale())
        if gone:
            shutil.rmtree(checkpoint)
        expected = "was removed meanwhile" if gone else "step-00000005: cannot be read: Stale file handle"
        with pytest.raises(CheckpointError, match=expected):
            stored.rectangle("matrix", (0, 0), (7, 11))
