"""Weights in one file or several: what a directory says of them, and what of them is read."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from puna.core.errors import CheckpointError
from puna.model.directory import weight_files
from puna.model.weights import open_weights

MATRIX_RC = torch.arange(12.0).view(3, 4)
GAIN_C = torch.arange(4.0)
INDEX = "model.safetensors.index.json"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    save_file({"matrix": MATRIX_RC}, tmp_path / "a.safetensors")
    save_file({"gain": GAIN_C}, tmp_path / "b.safetensors")
    write_index(tmp_path, {"matrix": "a.safetensors", "gain": "b.safetensors"})
    return tmp_path


def write_index(directory: Path, weight_map: Any) -> None:
    (directory / INDEX).write_text(json.dumps({"weight_map": weight_map}))


def refusal(directory: Path) -> str:
    with pytest.raises(CheckpointError) as caught, open_weights(directory):
        pass
    return caught.value.message


def test_rectangles_are_those_of_the_whole_tensors(directory: Path) -> None:
    with open_weights(directory) as stored:
        assert torch.equal(stored.tensor("matrix"), MATRIX_RC)
        for top in range(4):
            for left in range(5):
                for height in range(1, 4 - top):
                    for width in range(1, 5 - left):
                        part = stored.rectangle("matrix", (top, left), (height, width))
                        assert torch.equal(part, MATRIX_RC[top : top + height, left : left + width])
        assert torch.equal(stored.rectangle("gain", (1,), (2,)), GAIN_C[1:3])


def test_files_are_the_index_and_those_that_it_names(directory: Path) -> None:
    assert [path.name for path in weight_files(directory)] == [INDEX, "a.safetensors", "b.safetensors"]
    (directory / INDEX).unlink()
    assert [path.name for path in weight_files(directory)] == ["model.safetensors"]


def test_tensors_that_a_model_has_not_or_lacks_are_named(directory: Path) -> None:
    with open_weights(directory) as stored:
        stored.check({"matrix": (3, 4), "gain": (4,)})
        with pytest.raises(CheckpointError, match=r"has 1 tensors that the model lacks, the first is gain"):
            stored.check({"matrix": (3, 4)})
        with pytest.raises(CheckpointError, match=r"lacks 1 tensors, the first is other"):
            stored.check({"matrix": (3, 4), "gain": (4,), "other": (1,)})
        with pytest.raises(
            CheckpointError, match=r"a.safetensors: matrix is \[3, 4\], but model.toml makes it \[4, 3\]"
        ):
            stored.check({"matrix": (4, 3), "gain": (4,)})


@pytest.mark.parametrize(
    "weight_map", [None, [], {}, 3, {"matrix": 3}, {"matrix": "../a.safetensors"}, {"matrix": "/a.safetensors"}]
)
def test_an_index_that_says_no_file_beside_it_is_refused(directory: Path, weight_map: Any) -> None:
    write_index(directory, weight_map)
    assert refusal(directory).startswith(f"{directory / INDEX}: does not say")


def test_an_index_and_files_that_disagree_are_refused(directory: Path) -> None:
    write_index(directory, {"matrix": "b.safetensors", "gain": "b.safetensors"})
    assert refusal(directory) == f"{directory / 'b.safetensors'}: lacks matrix, which {INDEX} says it has"
    save_file({"matrix": MATRIX_RC, "gain": GAIN_C}, directory / "b.safetensors")
    write_index(directory, {"matrix": "a.safetensors", "gain": "b.safetensors"})
    assert refusal(directory) == f"{directory / 'b.safetensors'}: has matrix, which a.safetensors has too"


def test_a_file_that_is_missing_or_damaged_is_named(directory: Path) -> None:
    (directory / "b.safetensors").write_bytes(b"nothing")
    assert refusal(directory).startswith(f"{directory / 'b.safetensors'}: is not a readable safetensors file: ")
    (directory / "b.safetensors").unlink()
    assert refusal(directory).startswith(f"{directory / 'b.safetensors'}: is not a readable safetensors file: ")
