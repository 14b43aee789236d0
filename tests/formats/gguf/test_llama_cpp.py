"""What llama.cpp says of an export."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from puna.core.errors import ExportError
from puna.formats.checkpoint import Checkpoint, Hints
from puna.formats.gguf import llama_cpp as module
from puna.formats.gguf.llama_cpp import ask_llama_cpp
from puna.formats.gguf.llama_server import LlamaServer
from puna.formats.gguf.write import write_gguf
from puna.formats.registry import format_named
from puna.tokenizer.tokenizer import Tokenizer

pytest.importorskip("xllamacpp")
pytestmark = pytest.mark.oracle


@pytest.fixture
def gguf(source: Callable[..., Any], tokenizer: Tokenizer, tmp_path: Path) -> Callable[..., tuple[Checkpoint, Path]]:
    """Writes a model as GGUF; returns it opened, and its file."""

    def make(kind: str = "F32", **shape: Any) -> tuple[Checkpoint, Path]:
        write_gguf(source(**shape), tokenizer, tmp_path, file_type=kind)
        return format_named("gguf").open(tmp_path, Hints()), tmp_path / f"model-{kind}.gguf"

    return make


def test_it_agrees_with_our_decoder_and_says_nothing(
    gguf: Callable[..., tuple[Checkpoint, Path]], tokenizer: Tokenizer, capfd: pytest.CaptureFixture[str]
) -> None:
    found = ask_llama_cpp(*gguf(), tokenizer)
    assert found.oracle.startswith("llama.cpp (xllamacpp ")
    assert 0 < found.logits_max_abs_difference <= 5e-5
    assert found.logits_max_abs_difference <= found.logits_tolerance < 5e-5
    assert found.logits_tokens == 16
    assert capfd.readouterr() == ("", "")


def test_of_quantized_weights_the_difference_is_only_reported(
    gguf: Callable[..., tuple[Checkpoint, Path]], tokenizer: Tokenizer
) -> None:
    found = ask_llama_cpp(*gguf("Q8_0", dim=64, n_heads=2), tokenizer)
    assert 1e-4 < found.logits_max_abs_difference < 1
    assert found.logits_tolerance is None


def test_another_model_is_found(gguf: Callable[..., tuple[Checkpoint, Path]], tokenizer: Tokenizer) -> None:
    checkpoint, file = gguf()
    right = checkpoint.tensor

    def another(name: str) -> torch.Tensor:
        return right(name) * 1.01 if name == "layers.1.attention.wk.weight" else right(name)

    checkpoint.tensor = another  # type: ignore[method-assign]
    with pytest.raises(ExportError, match=r"model-F32\.gguf: log probabilities differ by .* from llama\.cpp's"):
        ask_llama_cpp(checkpoint, file, tokenizer)


def test_another_tokenizer_is_found(
    gguf: Callable[..., tuple[Checkpoint, Path]], tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = type(tokenizer).encode
    monkeypatch.setattr(type(tokenizer), "encode", lambda *a, **k: [*right(*a, **k), 5])
    with pytest.raises(ExportError, match=r"llama\.cpp writes '.*' with other ids"):
        ask_llama_cpp(*gguf(), tokenizer)


def test_a_file_that_it_does_not_load_is_one_sentence(
    gguf: Callable[..., tuple[Checkpoint, Path]], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    checkpoint, file = gguf()
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(file.read_bytes()[:-4000])
    with pytest.raises(ExportError, match=r"cut\.gguf: llama\.cpp does not load it"):
        ask_llama_cpp(checkpoint, cut, tokenizer)


def test_absence_and_want_of_memory_are_said_in_words(
    gguf: Callable[..., tuple[Checkpoint, Path]], tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = gguf()
    assert "without a tokenizer" in ask_llama_cpp(*made, None).oracle_missing
    monkeypatch.setattr(module, "available_memory", lambda: 1000)
    assert "of memory" in ask_llama_cpp(*made, tokenizer).oracle_missing
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert "is not installed" in ask_llama_cpp(*made, tokenizer).oracle_missing


def test_silence_is_said_in_words(
    gguf: Callable[..., tuple[Checkpoint, Path]], tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = gguf()
    monkeypatch.setattr(LlamaServer, "_started", lambda self: "http://127.0.0.1:9")
    assert "does not answer" in ask_llama_cpp(*made, tokenizer).oracle_missing
