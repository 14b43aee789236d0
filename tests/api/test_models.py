"""Models in Python: ask them, look at them, take them out and in again."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import puna
from puna.core.errors import CheckpointError, FormatError, GenerateError
from puna.core.layout import RunDir
from puna.infer.plain import generate_text
from puna.model.files import load_model


def test_run_and_model_directory_load_as_the_same_model(tiny_run: RunDir) -> None:
    for path in (tiny_run, tiny_run.root, str(tiny_run.root), tiny_run.model):
        model = puna.load(path)
        assert model.directory == tiny_run.model
        assert (model.config.dim, model.tokenizer.vocab_size, model.chat_template) == (32, 512, None)
        assert isinstance(model.model, torch.nn.Module)
    assert repr(model) == f"<LanguageModel {tiny_run.model}: 51.4k parameters>"


def test_text_is_that_of_the_decoder_whole_or_streamed(tiny_run: RunDir) -> None:
    model, decoder = puna.load(tiny_run), load_model(tiny_run.model).model
    options: dict[str, Any] = {"max_tokens": 12, "temperature": 0.7, "top_p": 0.9, "seed": 5}
    text = model.generate("The people", **options)
    assert text == generate_text(decoder, model.tokenizer, "The people", **options)
    pieces = list(model.stream("The people", **options))
    assert "".join(pieces) == text
    assert len(pieces) > 1
    assert model.generate("The people", max_tokens=12) == model.generate("The people", max_tokens=12, seed=0)


def test_chat_template_comes_with_the_model(tiny_run: RunDir, tmp_path: Path) -> None:
    source, template = tmp_path / "hf", "{{ messages }}\r\n"
    puna.export(tiny_run, "hf", source, quick=True)
    (source / "chat_template.jinja").write_text(template, newline="")
    assert puna.load(puna.import_model(source, tmp_path / "model")).chat_template == template


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"max_tokens": 0}, "max_tokens = 0: expected at least 1"),
        ({"temperature": -1.0}, "temperature = -1.0: expected 0 or more"),
        ({"temperature": float("nan")}, "temperature = nan"),
        ({"top_p": 0.0}, "top_p = 0.0: expected above 0"),
        ({"top_p": 1.5}, "top_p = 1.5: expected above 0 and at most 1"),
        ({"seed": -1}, "seed = -1: expected from 0"),
    ],
)
def test_arguments_out_of_their_range_are_sentences_at_once(
    tiny_run: RunDir, options: dict[str, Any], sentence: str
) -> None:
    model = puna.load(tiny_run)
    with pytest.raises(GenerateError, match=sentence):
        model.stream("x", **options)


def test_prompt_that_does_not_fit_is_a_sentence(tiny_run: RunDir) -> None:
    with pytest.raises(GenerateError, match="the model's context is 32"):
        puna.load(tiny_run).generate("word " * 100)


def test_device_that_is_not_there_is_a_sentence(tiny_run: RunDir) -> None:
    with pytest.raises(GenerateError, match="device 'gpu'"):
        puna.load(tiny_run, device="gpu")


def test_directory_without_a_model_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no Puna model"):
        puna.load(tmp_path)


def test_model_without_a_tokenizer_loads_and_says_so_when_asked(tiny_run: RunDir, tmp_path: Path) -> None:
    easylm = puna.export(tiny_run, "easylm", tmp_path / "easylm", quick=True).path
    for file in easylm.glob("tokenizer*"):
        file.unlink()
    config = puna.load(tiny_run).config
    path = puna.import_model(
        next(easylm.glob("*stream*")), tmp_path / "bare", heads=config.n_heads, kv_heads=config.n_kv_heads,
        context=config.context, norm_eps=config.norm_eps, rope_theta=config.rope_theta,
    )  # fmt: skip
    model = puna.load(path)
    assert model.config.dim == config.dim
    with pytest.raises(CheckpointError, match="has no tokenizer, so the model takes no text"):
        model.generate("x")


def test_inspecting_reads_what_the_files_say_without_a_weight(tiny_run: RunDir) -> None:
    found = puna.inspect(tiny_run)
    assert (found.format, found.config, found.missing, found.extra) == ("puna", puna.load(tiny_run).config, [], [])
    assert found.parameters == sum(tensor.numel() for tensor in load_model(tiny_run.model).model.parameters())
    assert found.tensors["norm.weight"].n_bytes == 4 * 32
    assert found.tokenizer is not None
    assert str(found).splitlines()[0].split(maxsplit=1) == ["format", f"Puna model, {tiny_run.model}"]
    assert found.as_dict()["parameters"] == found.parameters
    with pytest.raises(FormatError, match="is not there"):
        puna.inspect("nowhere")


def test_export_gives_its_place_and_its_proof(tiny_run: RunDir, tmp_path: Path) -> None:
    found = puna.export(tiny_run, "gguf", tmp_path / "gguf", type="Q8_0", quick=True)
    assert found.path == tmp_path / "gguf"
    assert (found.proof.weights.tensors, found.proof.weights.quantized["Q8_0"].tensors) == (21, 16)
    assert "quantized to Q8_0" in str(found)
    with pytest.raises(puna.UserError, match="exists already"):
        puna.export(tiny_run, "gguf", tmp_path / "gguf", quick=True)
    puna.export(tiny_run, "gguf", tmp_path / "gguf", quick=True, force=True)


def test_round_trip_is_the_same_text(tiny_run: RunDir, tmp_path: Path) -> None:
    hf = puna.export(tiny_run, "hf", tmp_path / "hf", quick=True)
    model = puna.load(puna.import_model(hf.path, tmp_path / "back"))
    assert model.generate("The people", seed=1) == puna.load(tiny_run).generate("The people", seed=1)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"to": "onnx"}, "'onnx' is not a format that Puna writes"),
        ({"to": "hf", "dtype": "int8"}, "dtype 'int8': expected one of float32, float16, bfloat16"),
        ({"to": "easylm", "form": "zip"}, "--form zip: expected one of params"),
        ({"to": "gguf", "type": "Q9"}, "--type Q9: expected one of"),
        ({"to": "hf", "type": "Q8_0"}, "--type is a choice of --to gguf, not of --to hf"),
    ],
)
def test_choices_that_no_format_has_are_sentences(
    tiny_run: RunDir, tmp_path: Path, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(puna.UserError, match=sentence):
        puna.export(tiny_run, out=tmp_path / "out", quick=True, **options)
    assert list(tmp_path.iterdir()) == []
    shutil.rmtree(tmp_path)


def test_wrong_dtype_of_an_import_is_a_sentence(tiny_run: RunDir, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="dtype 'int8'"):
        puna.import_model(tiny_run.model, tmp_path / "out", dtype="int8")
    assert list(tmp_path.iterdir()) == []
