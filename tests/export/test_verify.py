import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from puna.core.errors import ExportError
from puna.export import verify as module
from puna.export.verify import verify
from puna.model.files import read_config
from puna.tokenizer.tokenizer import Tokenizer

pytest.importorskip("transformers")

pytestmark = pytest.mark.parametrize("model_dir", ["grouped heads"], indirect=True)


NORM = "model.norm.weight"


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    """An export that may be changed."""
    return shutil.copytree(exported, tmp_path / "hf")


def weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def apply(out: Path) -> None:
        tensors = load_file(out / "model.safetensors")
        change(tensors)
        save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})

    return apply


def one_bit(tensors: dict[str, torch.Tensor]) -> None:
    tensors[NORM].view(torch.uint8)[0] ^= 1


def config_value(key: str, value: object) -> Callable[[Path], None]:
    def apply(out: Path) -> None:
        config = json.loads((out / "config.json").read_text())
        (out / "config.json").write_text(json.dumps(config | {key: value}))

    return apply


def tokenizer_part(part: str, value: object) -> Callable[[Path], None]:
    def apply(out: Path) -> None:
        content = json.loads((out / "tokenizer.json").read_text())
        (out / "tokenizer.json").write_text(json.dumps(content | {part: value}))

    return apply


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (weights(one_bit), "model.norm.weight is not what the model has as norm.weight"),
        (weights(lambda t: t.pop(NORM)), "1 tensors were not written, the first is model.norm.weight"),
        (weights(lambda t: t.update(extra=torch.ones(1))), "extra should not be there"),
        (weights(lambda t: t.update({NORM: t[NORM].half()})), "is not what the model has"),
        (weights(lambda t: t.update({NORM: t[NORM][None]})), "is not what the model has"),
        (config_value("rope_parameters", {"rope_theta": 7.0, "rope_type": "default"}), "logits differ"),
        (config_value("rms_norm_eps", 0.5), "logits differ"),
        (config_value("hidden_act", "gelu"), "logits differ"),
        (tokenizer_part("normalizer", None), "tokenizer.json differs from tokenizer.model on"),
        (tokenizer_part("post_processor", None), "tokenizer.json differs from tokenizer.model on"),
        (tokenizer_part("decoder", None), "tokenizer.json differs from tokenizer.model on"),
    ],
)  # fmt: skip
def test_every_kind_of_difference_is_found(
    model_dir: Path, copy: Path, tokenizer: Tokenizer, change: Callable[[Path], None], expected: str
) -> None:
    change(copy)
    with pytest.raises(ExportError, match=expected):
        verify(model_dir, copy, read_config(model_dir), tokenizer)


def test_absent_oracle_is_reported_in_words(
    model_dir: Path, copy: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    report = verify(model_dir, copy, read_config(model_dir), tokenizer)
    assert report["oracle"] is None
    assert report["logits_max_abs_difference"] is None
    assert "transformers is not installed" in report["oracle_missing"]
    assert report["tensors_identical"] > 0


def test_tensor_that_is_there_twice_is_found(model_dir: Path, copy: Path, tokenizer: Tokenizer) -> None:
    shutil.copy(copy / "model.safetensors", copy / "again.safetensors")
    with pytest.raises(ExportError, match="there twice"):
        verify(model_dir, copy, read_config(model_dir), tokenizer)
