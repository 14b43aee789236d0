"""Where a model's chat template is kept, and that it travels with the model."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from puna.core.errors import FormatError
from puna.formats.checkpoint import Checkpoint, Hints
from puna.formats.export_model import Options, export_model
from puna.formats.gguf.write import write_gguf
from puna.formats.hf.chat_template import read_huggingface_chat_template
from puna.formats.hf.write import write_hf
from puna.formats.import_model import import_model
from puna.formats.native.read import open_native
from puna.formats.native.write import write_native
from puna.formats.proof.equivalence import Text
from puna.formats.registry import format_of
from puna.tokenizer.tokenizer import Tokenizer

TEMPLATE = "{% for m in messages %}\r\n<|{{ m.role }}|>\n{{ m.content }}é</s>{% endfor %}\n"


def test_its_own_file_comes_before_the_tokenizers_settings(tmp_path: Path) -> None:
    assert read_huggingface_chat_template(tmp_path) is None
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "old"}))
    assert read_huggingface_chat_template(tmp_path) == "old"
    (tmp_path / "chat_template.jinja").write_bytes(TEMPLATE.encode())
    assert read_huggingface_chat_template(tmp_path) == TEMPLATE


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([{"name": "tools", "template": "a"}, {"name": "default", "template": "b"}], "b"),
        ([{"name": "tools", "template": "a"}], None),
        ([3], None),
        (7, None),
        (None, None),
    ],
)
def test_of_several_it_is_the_default(tmp_path: Path, said: object, expected: str | None) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": said}))
    assert read_huggingface_chat_template(tmp_path) == expected


def test_what_is_not_text_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(FormatError, match="is not UTF-8 text"):
        read_huggingface_chat_template(tmp_path)


def hf(source: Checkpoint, tokenizer: Tokenizer, out: Path) -> None:
    write_hf(source, tokenizer, out)


def gguf(source: Checkpoint, tokenizer: Tokenizer, out: Path) -> None:
    write_gguf(source, tokenizer, out, file_type="F32")


@pytest.mark.parametrize("write", [hf, gguf])
def test_it_comes_with_the_model_and_goes_with_it(
    source: Callable[..., Any], tokenizer: Tokenizer, tmp_path: Path, write: Callable[..., None]
) -> None:
    model = source()
    model.chat_template = TEMPLATE
    (tmp_path / "theirs").mkdir()
    write(model, tokenizer, tmp_path / "theirs")
    import_model(tmp_path / "theirs", tmp_path / "model", Hints())
    assert open_native(tmp_path / "model", Hints()).chat_template == TEMPLATE
    for form in ("hf", "gguf"):
        results = export_model(tmp_path / "model", form, tmp_path / form, Text("x", "x"), Options(run=False))
        assert format_of(tmp_path / form).open(tmp_path / form, Hints()).chat_template == TEMPLATE
        assert results.notes == []


def test_a_format_without_a_place_for_it_says_so(
    source: Callable[..., Any], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    model = source()
    model.chat_template = TEMPLATE
    (tmp_path / "model").mkdir()
    write_native(model, tokenizer, tmp_path / "model", inputs={}, results={})
    results = export_model(tmp_path / "model", "llama", tmp_path / "llama", Text("x", "x"), Options(run=False))
    assert results.notes == ["the model's chat template has no place in llama"]


@pytest.mark.parametrize(("name", "content"), [("tokenizer_config.json", b"<html>"), ("chat_template.jinja", b"\xff")])
def test_weights_come_in_without_a_template_that_cannot_be_read(
    tmp_path: Path, source: Callable[..., Any], name: str, content: bytes
) -> None:
    (tmp_path / "hf").mkdir()
    write_hf(source(vocab_size=300), None, tmp_path / "hf")
    (tmp_path / "hf" / name).write_bytes(content)
    opened = format_of(tmp_path / "hf").open(tmp_path / "hf", Hints())
    assert opened.chat_template is None
    assert re.match(rf"no chat template was read: .*{name}: ", opened.notes[-1])
