"""Puna's own model directory as one of the formats."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from puna.core.errors import CheckpointError, FormatError
from puna.core.records import read_record
from puna.formats.checkpoint import Hints
from puna.formats.native.read import is_native, open_native
from puna.formats.native.write import write_native
from puna.model.description import read_config
from puna.model.directory import check_files
from puna.model.files import load_model
from puna.tokenizer.tokenizer import Tokenizer

ONE_MODEL = pytest.mark.parametrize("model_dir", ["grouped heads"], indirect=True)


def test_it_reads_what_training_saves(model_dir: Path, tokenizer: Tokenizer) -> None:
    assert is_native(model_dir)
    native = open_native(model_dir, Hints())
    native.check_complete()
    assert native.config == read_config(model_dir)
    expected = load_file(model_dir / "model.safetensors")
    assert native.stored.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(native.tensor(name), tensor)
        assert native.stored[name].n_bytes == tensor.nbytes
    found = native.tokenizer()
    assert found is not None
    assert found.sha256 == tokenizer.sha256


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tied", [False, True])
def test_what_it_writes_is_a_model_of_puna(
    source: Callable[..., Any], tokenizer: Tokenizer, tmp_path: Path, dtype: torch.dtype, tied: bool
) -> None:
    model = source(dtype=dtype, tie_embeddings=tied, head_dim=12)
    write_native(model, tokenizer, tmp_path, inputs={"x": "hash"}, results={"format": "memory"})
    check_files(tmp_path)
    loaded = load_model(tmp_path).model
    assert loaded.config == model.config
    for name, tensor in model.tensors.items():
        assert torch.equal(loaded.get_parameter(name), tensor)
        assert loaded.get_parameter(name).dtype == dtype
    record = read_record(tmp_path / "record.json")
    assert record is not None
    assert (record["stage"], record["inputs"], record["results"]) == ("import", {"x": "hash"}, {"format": "memory"})
    assert sorted(record["outputs"]) == ["model.safetensors", "model.toml", "tokenizer.model"]


def test_a_model_may_have_no_tokenizer(source: Callable[..., Any], tmp_path: Path) -> None:
    write_native(source(), None, tmp_path, inputs={}, results={})
    check_files(tmp_path)
    assert open_native(tmp_path, Hints()).tokenizer() is None
    assert load_model(tmp_path).tokenizer is None


@ONE_MODEL
def test_a_hint_that_contradicts_model_toml_is_refused(model_dir: Path) -> None:
    open_native(model_dir, Hints(n_heads=4))
    with pytest.raises(FormatError, match="has n_heads = 4, but 2 was given"):
        open_native(model_dir, Hints(n_heads=2))


@ONE_MODEL
def test_missing_and_extra_tensors_are_seen_and_another_shape_refused(model_dir: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(model_dir, tmp_path / "model")
    tensors = load_file(copy / "model.safetensors")
    del tensors["norm.weight"]
    save_file(tensors | {"more": torch.ones(1)}, copy / "model.safetensors")
    native = open_native(copy, Hints())
    assert native.missing == ["norm.weight"]
    assert native.extra == ["more"]
    save_file(tensors | {"norm.weight": torch.ones(3)}, copy / "model.safetensors")
    with pytest.raises(FormatError, match=r"norm\.weight is \[3\], but the configuration makes it \[80\]"):
        open_native(copy, Hints())
    save_file(tensors | {"norm.weight": torch.ones(80, dtype=torch.int8)}, copy / "model.safetensors")
    with pytest.raises(FormatError, match=r"norm\.weight is I8, expected"):
        open_native(copy, Hints())


@ONE_MODEL
def test_damaged_files_are_one_sentence(model_dir: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(model_dir, tmp_path / "model")
    content = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(FormatError, match=r"model\.safetensors"):
        open_native(copy, Hints())
    (copy / "model.toml").write_text("format = 3")
    with pytest.raises(CheckpointError, match=r"model\.toml"):
        open_native(copy, Hints())
    assert not is_native(tmp_path)
