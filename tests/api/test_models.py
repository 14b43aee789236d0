"""Models as files: look at them, take them out and in again."""

import shutil
from pathlib import Path
from typing import Any

import pytest

import puna
from puna.core.errors import FormatError
from puna.core.layout import RunDir
from puna.model.files import load_model


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
