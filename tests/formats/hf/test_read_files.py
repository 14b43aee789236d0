"""A directory of Hugging Face's is recognised where its configuration cannot be read, too, and the error says why."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from puna.core.errors import FormatError
from puna.formats.checkpoint import Hints
from puna.formats.containers.safetensors import WEIGHTS
from puna.formats.hf.read import is_hf, open_hf
from puna.formats.hf.write import write_hf
from puna.formats.registry import format_of

NONE = Hints()


@pytest.fixture
def single(tmp_path: Path, source: Callable[..., Any]) -> Path:
    """A model in one file. It may be changed."""
    (tmp_path / "hf").mkdir()
    write_hf(source(vocab_size=300), None, tmp_path / "hf")
    return tmp_path / "hf"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'\xef\xbb\xbf{"model_type": "llama"}', "byte order mark"),
        (b'{"model_type": "llama",}', "a comma with nothing after it"),
        (b'{"model_type": "llama" // mine\n}', "has a comment"),
        ('{"model_type": "llama"}'.encode("utf-16"), "UTF-16"),
        (b'{"model_type": "llama", "model_type": "llama"}', "names 'model_type' twice"),
        (b"", "it is empty"),
        (b'["model_type"]', "is JSON, but not an object"),
        (b'{"model_type": ' + b"[" * 99 + b"]" * 99 + b"}", "levels deep"),
        (None, "cannot be read: No such file"),
    ],
)
@pytest.mark.parametrize("weights", [True, False])
def test_a_configuration_that_cannot_be_read_is_what_the_error_is_about(
    single: Path, content: bytes | None, said: str, weights: bool
) -> None:
    (single / "config.json").unlink()
    if content is not None:
        (single / "config.json").write_bytes(content)
    if not weights:
        (single / WEIGHTS).unlink()
    if content is None and not weights:
        return
    for path in (single, single / WEIGHTS) if weights else (single,):
        assert format_of(path).name == "hf"
        with pytest.raises(FormatError, match=rf"config.json: .*{said}"):
            format_of(path).open(path, NONE)


def test_a_configuration_that_cannot_be_read_does_not_hide_another_format(single: Path) -> None:
    (single / WEIGHTS).unlink()
    (single / "config.json").write_text("{")
    (single / "params.json").write_text("{}")
    assert not is_hf(single)


def read_all(path: Path) -> dict[str, torch.Tensor]:
    opened = open_hf(path, NONE)
    opened.check_complete()
    return {name: opened.tensor(name) for name in opened.weights}


@pytest.mark.parametrize("count", [1, 3])
def test_pytorchs_files_are_read_where_there_are_no_safetensors(single: Path, count: int) -> None:
    """OpenLLaMA 3B and most models of 2023 have nothing else."""
    expected = {name: tensor.clone() for name, tensor in read_all(single).items()}
    tensors = {name: tensor.clone() for name, tensor in load_file(single / WEIGHTS).items()}
    inv_freq = {
        f"model.layers.{n}.self_attn.rotary_emb.inv_freq": 1e4 ** (-torch.arange(0, 20, 2) / 20) for n in (0, 1)
    }
    names = list(tensors | inv_freq)
    weight_map = {}
    for number in range(count):
        file = "pytorch_model.bin" if count == 1 else f"pytorch_model-{number + 1:05}-of-{count:05}.bin"
        torch.save({name: (tensors | inv_freq)[name] for name in names[number::count]}, single / file)
        weight_map |= dict.fromkeys(names[number::count], file)
    if count > 1:
        (single / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    (single / WEIGHTS).unlink()
    assert is_hf(single)
    found = read_all(single)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert {file.suffix for file in open_hf(single, NONE).files} == {".bin", ".json"}
    if count == 1:
        assert is_hf(single / "pytorch_model.bin")
        open_hf(single / "pytorch_model.bin", NONE).check_complete()
    else:
        with pytest.raises(FormatError, match="is one file of several"):
            open_hf(single / "pytorch_model-00002-of-00003.bin", NONE)
        (single / "pytorch_model.bin.index.json").unlink()
        with pytest.raises(FormatError, match=r"has pytorch_model-00001-of-00003.bin, but not pytorch_model.bin.index"):
            open_hf(single, NONE)


def test_code_in_pytorchs_files_is_refused_and_not_run(single: Path) -> None:
    (single / WEIGHTS).unlink()
    (single / "pytorch_model.bin").write_bytes(b"\x80\x02cposix\nsystem\n.")
    with pytest.raises(FormatError, match=r"pytorch_model.bin: wants 'posix.system'.*nothing of it was run"):
        open_hf(single, NONE)
