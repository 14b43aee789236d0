import hashlib
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from puna.model.safetensors import write_safetensors


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_library_reads_back_the_same_bits(tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = {
        "matrix": torch.randn(5, 7).to(dtype),
        "transposed": torch.randn(4, 3).to(dtype).T,
        "one": torch.randn(1).to(dtype),
        "special": torch.tensor([float("nan"), float("inf"), -0.0]).to(dtype),
        "name with ünicode": torch.randn(2, 3, 5).to(dtype),
        "parameter": torch.nn.Parameter(torch.randn(3).to(dtype)),
    }
    path = tmp_path / "x.safetensors"
    write_safetensors(path, tensors, tensors.__getitem__)
    found = load_file(path)
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        expected = tensor.detach().contiguous()
        assert (found[name].shape, found[name].dtype) == (expected.shape, dtype)
        assert torch.equal(found[name].view(torch.uint8), expected.view(torch.uint8)), name
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_the_hash_is_that_of_the_file(tmp_path: Path) -> None:
    tensors = {f"t{number}": torch.randn(number, 1000) for number in range(5)}
    digest = hashlib.sha256()
    write_safetensors(tmp_path / "x", tensors, tensors.__getitem__, digest)
    assert digest.hexdigest() == hashlib.sha256((tmp_path / "x").read_bytes()).hexdigest()


def test_content_begins_at_a_multiple_of_eight_bytes(tmp_path: Path) -> None:
    for length in range(8):
        path = tmp_path / "x.safetensors"
        write_safetensors(path, {"n" * (length + 1): torch.zeros(2)}, lambda _: torch.zeros(2))
        assert (path.stat().st_size - 8) % 8 == 0
