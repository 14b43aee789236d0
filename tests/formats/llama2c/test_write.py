import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from puna.core.errors import ExportError
from puna.formats.checkpoint import Checkpoint
from puna.formats.llama2c.write import write_llama2c
from puna.tokenizer.tokenizer import Tokenizer

Source = Callable[..., Checkpoint]


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_the_header_says_by_its_sign_whether_the_output_layer_follows(
    source: Source, tmp_path: Path, tied: bool
) -> None:
    model = source(norm_eps=1e-5, tie_embeddings=tied)
    write_llama2c(model, None, tmp_path)
    content = (tmp_path / "model.bin").read_bytes()
    assert struct.unpack("<7i", content[:28]) == (80, 96, 2, 4, 2, 512 if tied else -512, 64)
    numbers = np.frombuffer(content, "<f4", offset=28)
    assert np.array_equal(numbers[: 512 * 80].reshape(512, 80), model.tensor("tok_embeddings.weight").numpy())
    if not tied:
        assert np.array_equal(numbers[-512 * 80 :].reshape(512, 80), model.tensor("output.weight").numpy())
    assert [path.name for path in tmp_path.iterdir()] == ["model.bin"]


def test_the_tables_of_angles_are_cosines_and_sines_of_every_position(source: Source, tmp_path: Path) -> None:
    write_llama2c(source(norm_eps=1e-5, tie_embeddings=True), None, tmp_path)
    tables = np.fromfile(tmp_path / "model.bin", "<f4")[-2 * 64 * 10 :].reshape(2, 64, 10)
    angles = np.outer(np.arange(64), 10000.0 ** (-np.arange(0, 20, 2) / 20))
    assert np.abs(tables[0] - np.cos(angles)).max() < 1e-5
    assert np.abs(tables[1] - np.sin(angles)).max() < 1e-5


def test_the_tokenizer_is_written_in_both_forms(source: Source, tokenizer: Tokenizer, tmp_path: Path) -> None:
    write_llama2c(source(norm_eps=1e-5), tokenizer, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"model.bin", "tokenizer.bin", "tokenizer.model"}
    assert (tmp_path / "tokenizer.model").read_bytes() == tokenizer.content


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ({"norm_eps": 1e-6}, "norm_eps = 1e-06, and llama2.c's run.c 1e-05 only"),
        ({"rope_theta": 5e5}, "rope_theta = 500000, and llama2.c's run.c 10000 only"),
        ({"head_dim": 24}, "head_dim = 24"),
        ({"norm": "layer"}, "norm = 'layer', which llama2.c's format cannot express"),
        ({"qk_norm": True}, "qk_norm = true"),
        ({"rope_scaling": {"kind": "linear", "factor": 2.0}}, "rope_scaling.kind = 'linear'"),
        ({"rope_scaling": {"kind": "llama3", "factor": 8.0}}, "rope_scaling.kind = 'llama3'"),
        ({"dtype": torch.bfloat16}, "tok_embeddings.weight is bfloat16, and llama2.c's format holds float32 only"),
    ],
)
def test_what_run_c_cannot_compute_is_refused_before_anything_is_written(
    source: Source, tmp_path: Path, shape: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ExportError, match=sentence):
        write_llama2c(source(**({"norm_eps": 1e-5} | shape)), None, tmp_path)
    assert not list(tmp_path.iterdir())


def test_one_tensor_that_is_not_float32_is_refused(source: Source, tmp_path: Path) -> None:
    model = source(norm_eps=1e-5)
    mixed = type(model)(model.config, model.tensors | {"norm.weight": model.tensors["norm.weight"].half()})
    with pytest.raises(ExportError, match=r"norm.weight is float16"):
        write_llama2c(mixed, None, tmp_path)


def test_a_tokenizer_of_another_size_is_refused(source: Source, tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="the tokenizer has 512 tokens and the model 1000"):
        write_llama2c(source(norm_eps=1e-5, vocab_size=1000), tokenizer, tmp_path)
