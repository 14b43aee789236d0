"""The proof as a whole, and its sentences. What it is made of is tested with compare, tokenizers and oracle."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from puna.core.errors import ExportError
from puna.formats.cast import CastCheckpoint
from puna.formats.checkpoint import Checkpoint, Hints
from puna.formats.hf.format import HF
from puna.formats.hf.write import write_hf
from puna.formats.proof.equivalence import Text, prove, summary
from puna.formats.registry import format_named
from puna.tokenizer.tokenizer import Tokenizer

TEXT = Text("the people of the United States\n" * 100, "a speech")


def written(source: Checkpoint, tokenizer: Tokenizer | None, out: Path) -> Checkpoint:
    write_hf(source, tokenizer, out)
    return format_named("hf").open(out, Hints())


def test_a_faithful_export_is_reported_without_running_our_own_model(
    source: Callable[..., Any], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    found = prove(source(), written(source(), tokenizer, tmp_path), tmp_path, tokenizer, text=TEXT, oracle=HF.oracle)
    assert found.outputs is None
    lines = summary(found)
    assert lines[0] == "weights: 21 of 21 tensors read back bit for bit the same"
    assert lines[1].startswith("tokens: the same ids for ")
    assert lines[1].endswith(" strings in tokenizer.model, tokenizer.json")
    assert lines[2].startswith("transformers ")
    assert len(lines) == 3
    assert summary(found.model_copy(update={"notes": ["one tensor is F16"]}))[3:] == ["note: one tensor is F16"]
    many = summary(found.model_copy(update={"notes": [f"tensor {number} is F16" for number in range(9)]}))
    assert many[5:] == ["note: tensor 2 is F16", "note: 6 more are in equivalence.json"]


def test_a_rounded_export_is_run_on_the_text(source: Callable[..., Any], tokenizer: Tokenizer, tmp_path: Path) -> None:
    model = source()
    export = written(CastCheckpoint(model, "bfloat16"), tokenizer, tmp_path)
    found = prove(model, export, tmp_path, tokenizer, text=TEXT, oracle=HF.oracle)
    assert found.outputs.tokens == 4 * 64
    assert found.outputs.text == "a speech"
    lines = summary(found)
    assert "21 exactly the model's rounded to bfloat16" in lines[0]
    assert "perplexity" in lines[2]
    assert "(a speech)" in lines[2]


def test_a_text_shorter_than_one_sequence_is_enough(
    source: Callable[..., Any], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    model = source()
    export = written(CastCheckpoint(model, "float16"), tokenizer, tmp_path)
    found = prove(model, export, tmp_path, tokenizer, text=Text("a b", "two letters"), oracle=None)
    assert 2 <= found.outputs.tokens < 64


def test_another_architecture_is_refused_before_any_weight_is_read(
    source: Callable[..., Any], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    export = written(source(norm_eps=1e-3), tokenizer, tmp_path)
    with pytest.raises(ExportError, match=r"says norm_eps = 0\.001, but the model has 1e-06"):
        prove(source(), export, tmp_path, tokenizer, text=TEXT, oracle=HF.oracle)
