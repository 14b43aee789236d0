"""What transformers says of an export."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from puna.core.errors import ExportError
from puna.formats.checkpoint import Checkpoint, Hints
from puna.formats.hf import transformers as module
from puna.formats.hf.transformers import ask_transformers
from puna.formats.hf.write import write_hf
from puna.formats.registry import format_named
from puna.tokenizer.tokenizer import Tokenizer

transformers = pytest.importorskip("transformers")


@pytest.fixture
def hf(source: Callable[..., Any], tokenizer: Tokenizer, tmp_path: Path) -> tuple[Path, Checkpoint]:
    """A Hugging Face directory, opened."""
    write_hf(source(), tokenizer, tmp_path)
    return tmp_path, format_named("hf").open(tmp_path, Hints())


def test_its_logits_are_ours(hf: tuple[Path, Checkpoint], tokenizer: Tokenizer) -> None:
    found = ask_transformers(hf[1], hf[0], tokenizer)
    assert found.oracle == f"transformers {transformers.__version__}"
    assert 0 <= found.logits_max_abs_difference <= 1e-5
    assert found.logits_tokens == 256


def test_warnings_that_its_libraries_log_are_not_shown(
    hf: tuple[Path, Checkpoint], tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """torchao, which it imports to load a model, says which of its parts were built for other GPUs."""
    load = transformers.AutoModelForCausalLM.from_pretrained

    def warns(*args: Any, **options: Any) -> Any:
        logging.getLogger("torchao").warning("Failed to load a kernel")
        return load(*args, **options)

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", warns)
    ask_transformers(hf[1], hf[0], tokenizer)
    assert caplog.messages == []
    logging.getLogger("torchao").warning("of the user's own")
    assert caplog.messages == ["of the user's own"]


@pytest.mark.parametrize(
    "change",
    [{"rope_parameters": {"rope_theta": 7.0, "rope_type": "default"}}, {"rms_norm_eps": 0.5}, {"hidden_act": "gelu"}],
    ids=str,
)
def test_another_configuration_has_other_logits(
    hf: tuple[Path, Checkpoint], tokenizer: Tokenizer, change: dict[str, Any]
) -> None:
    config = json.loads((hf[0] / "config.json").read_text())
    (hf[0] / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ExportError, match="logits differ by"):
        ask_transformers(hf[1], hf[0], tokenizer)


def test_a_directory_that_it_does_not_load_is_a_sentence(hf: tuple[Path, Checkpoint], tokenizer: Tokenizer) -> None:
    (hf[0] / "config.json").write_text('{"model_type": "no such model"}')
    with pytest.raises(ExportError, match="does not load them"):
        ask_transformers(hf[1], hf[0], tokenizer)


def test_a_tensor_that_it_misses_is_reported(hf: tuple[Path, Checkpoint], tokenizer: Tokenizer) -> None:
    from safetensors.torch import load_file, save_file

    tensors = {name: tensor.clone() for name, tensor in load_file(hf[0] / "model.safetensors").items()}
    tensors["model.layers.0.mlp.more_proj.weight"] = tensors.pop("model.norm.weight")
    (hf[0] / "model.safetensors").unlink()
    save_file(tensors, hf[0] / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ExportError, match="transformers reports missing_keys, unexpected_keys"):
        ask_transformers(hf[1], hf[0], tokenizer)


def test_its_tokenizer_is_asked_too(hf: tuple[Path, Checkpoint], tokenizer: Tokenizer) -> None:
    content = json.loads((hf[0] / "tokenizer.json").read_text())
    (hf[0] / "tokenizer.json").write_text(json.dumps(content | {"normalizer": None}))
    with pytest.raises(ExportError, match="transformers' tokenizer writes"):
        ask_transformers(hf[1], hf[0], tokenizer)


def test_absence_and_want_of_memory_are_said_in_words(
    hf: tuple[Path, Checkpoint], tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "available_memory", lambda: 1000)
    found = ask_transformers(hf[1], hf[0], tokenizer)
    assert found.oracle is None
    assert "of memory" in found.oracle_missing
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    found = ask_transformers(hf[1], hf[0], tokenizer)
    assert found.oracle_missing.startswith("transformers is not installed")
