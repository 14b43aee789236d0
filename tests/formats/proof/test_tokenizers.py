"""Whether the forms of a tokenizer in an export agree."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from puna.core.errors import ExportError
from puna.formats.checkpoint import Hints
from puna.formats.gguf.write import write_gguf
from puna.formats.hf.write import write_hf
from puna.formats.proof.tokenizers import prove_tokenizers
from puna.formats.registry import format_named
from puna.tokenizer.tokenizer import Tokenizer


@pytest.fixture
def hf(source: Callable[..., Any], tokenizer: Tokenizer, tmp_path: Path) -> Path:
    """A Hugging Face directory."""
    write_hf(source(), tokenizer, tmp_path)
    return tmp_path


def test_all_forms_are_named(hf: Path, tokenizer: Tokenizer) -> None:
    found = prove_tokenizers(tokenizer, format_named("hf").open(hf, Hints()), hf)
    assert found.forms == ["tokenizer.model", "tokenizer.json"]
    assert found.strings > 300


@pytest.mark.parametrize("part", ["normalizer", "post_processor", "decoder"])
def test_a_tokenizer_json_that_differs_is_refused_with_a_string(hf: Path, tokenizer: Tokenizer, part: str) -> None:
    written = format_named("hf").open(hf, Hints())
    content = json.loads((hf / "tokenizer.json").read_text())
    (hf / "tokenizer.json").write_text(json.dumps(content | {part: None}))
    with pytest.raises(ExportError, match=r"tokenizer\.json (writes|decodes) .* strings differ\)"):
        prove_tokenizers(tokenizer, written, hf)


def test_what_a_models_file_holds_is_asked_where_there_is_no_other(
    source: Callable[..., Any], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    write_gguf(source(), tokenizer, tmp_path, file_type="F32")
    found = prove_tokenizers(tokenizer, format_named("gguf").open(tmp_path, Hints()), tmp_path)
    assert found.forms == ["the gguf file"]


def test_a_tokenizer_that_was_not_written_is_missed(
    source: Callable[..., Any], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    write_hf(source(), None, tmp_path)
    with pytest.raises(ExportError, match="the tokenizer was not written"):
        prove_tokenizers(tokenizer, format_named("hf").open(tmp_path, Hints()), tmp_path)
