"""Exports: complete, proved, or not there."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from puna.core.errors import CheckpointError, ExportError, FormatError, StorageError
from puna.core.layout import RunDir
from puna.core.records import Record, read_record
from puna.core.schema.export import ExportRecord, ExportWeights
from puna.core.schema.lineage import Parent
from puna.core.schema.part import parse
from puna.formats import export_model as module
from puna.formats.checkpoint import Hints
from puna.formats.export_model import Options, export_model
from puna.formats.import_model import import_model
from puna.formats.native.write import write_native
from puna.formats.proof.equivalence import Text, summary
from puna.model.files import load_model
from puna.tokenizer.tokenizer import Tokenizer

TEXT = Text("def main(argv):\n    return 0\n" * 200, "a program")
FORMATS = ["hf", "llama", "easylm", "gguf", "llama2c", "openlm"]
ONE_MODEL = pytest.mark.parametrize("model_dir", ["grouped heads"], indirect=True)


@pytest.fixture
def model(source: Callable[..., Any], tokenizer: Tokenizer, tmp_path: Path) -> Path:
    """A small model that every format can express."""
    out = tmp_path / "model"
    out.mkdir()
    write_native(source(norm_eps=1e-5, n_kv_heads=4, ffn_dim=256, init_std=0.02), tokenizer, out, inputs={}, results={})
    return out


@pytest.mark.parametrize("form", FORMATS)
def test_every_export_comes_back_as_the_model_that_it_was(model: Path, tmp_path: Path, form: str) -> None:
    results = export_model(model, form, tmp_path / "out", TEXT, Options())
    assert results.weights == ExportWeights(tensors=21, identical=21, converted={}, quantized={})
    assert results.outputs is None
    import_model(tmp_path / "out", tmp_path / "again", Hints(n_heads=4, n_kv_heads=4, context=64, norm_eps=1e-5))
    first, second = load_model(model).model, load_model(tmp_path / "again").model
    assert first.config == second.config
    for name, parameter in first.named_parameters():
        assert torch.equal(parameter, second.get_parameter(name))


@pytest.mark.parametrize("form", FORMATS)
def test_checksums_are_those_of_sha256sum_and_the_report_names_its_source(
    model: Path, tmp_path: Path, form: str
) -> None:
    export_model(model, form, tmp_path / "out", TEXT, Options())
    done = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path / "out", capture_output=True)
    assert done.returncode == 0, done.stdout
    listed = {line.split("  ")[1] for line in (tmp_path / "out" / "SHA256SUMS").read_text().splitlines()}
    assert listed == {path.name for path in (tmp_path / "out").iterdir()} - {"SHA256SUMS"}
    report, made = read_record(tmp_path / "out" / "equivalence.json"), read_record(model / "record.json")
    assert report is not None
    assert made is not None
    assert report["inputs"] == made["outputs"]
    assert report["stage"] == f"export-{form}"
    assert report["results"]["tokenizer"]["strings"] > 300


def test_rounded_weights_are_reported_with_what_they_change(model: Path, tmp_path: Path) -> None:
    results = export_model(
        model, "llama", tmp_path / "out", TEXT, Options(dtype="bfloat16", of_format={"model_parallel": 2})
    )
    assert results.weights.converted == {"bfloat16": 21}
    outputs = results.outputs
    assert 0 < outputs.max_abs_difference < 0.1
    assert outputs.text == "a program"
    assert outputs.perplexity.written == pytest.approx(outputs.perplexity.source, rel=0.02)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.pth")) == [
        "consolidated.00.pth", "consolidated.01.pth",
    ]  # fmt: skip


def test_quantized_weights_are_reported_with_their_error_and_perplexity(
    source: Callable[..., Any], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    write_native(source(dim=64, n_heads=2), tokenizer, tmp_path / "model", inputs={}, results={})
    results = export_model(tmp_path / "model", "gguf", tmp_path / "out", TEXT, Options(of_format={"type": "Q8_0"}))
    assert results.weights.quantized["Q8_0"].tensors == 16
    assert 0 < results.weights.quantized["Q8_0"].relative_rms_error < 0.01
    assert results.outputs.perplexity is not None
    lines = summary(results)
    assert any("16 quantized to Q8_0" in line for line in lines)
    assert any("perplexity" in line and "a program" in line for line in lines)


@pytest.mark.parametrize("form", ["params", "train_state", "flax_params"])
def test_easylms_three_kinds_of_files_can_be_chosen(model: Path, tmp_path: Path, form: Any) -> None:
    results = export_model(model, "easylm", tmp_path / "out", TEXT, Options(of_format={"form": form}, run=False))
    assert results.weights.identical == 21
    assert any(form in path.name for path in (tmp_path / "out").iterdir())


def test_an_export_of_a_run_says_what_the_run_comes_from(model: Path, tmp_path: Path) -> None:
    parent = Parent(how="branched", run="base", place="runs/base@400", step=400, tokens=400, optimizer="kept")
    run = RunDir(tmp_path)
    assert run.model == model
    export_model(model, "hf", tmp_path / "alone", TEXT, Options(run=False))
    Record("train", results={"lineage": [parent.model_dump()]}).write(run.record)
    export_model(model, "hf", tmp_path / "out", TEXT, Options(run=False))
    alone, of_run = (read_record(tmp_path / name / "equivalence.json") for name in ("alone", "out"))
    assert alone is not None
    assert of_run is not None
    assert "lineage" not in alone["results"]
    assert parse(ExportRecord, of_run, "here").results.lineage == [parent]


def test_quick_runs_no_model(model: Path, tmp_path: Path) -> None:
    results = export_model(model, "hf", tmp_path / "out", TEXT, Options(dtype="float16", run=False))
    assert results.outputs is None
    assert results.oracle is None
    assert "--quick" in results.oracle_missing


def test_a_model_without_a_tokenizer_is_exported_without_one(source: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    write_native(source(), None, tmp_path / "model", inputs={}, results={})
    results = export_model(tmp_path / "model", "hf", tmp_path / "out", TEXT, Options(dtype="bfloat16"))
    assert results.tokenizer is None
    assert results.outputs.perplexity is None
    assert not list((tmp_path / "out").glob("tokenizer*"))


@pytest.mark.parametrize(
    ("form", "options", "said"),
    [
        ("hf", Options(of_format={"model_parallel": 2}), "--model-parallel is a choice of --to llama, not of --to hf"),
        ("llama", Options(of_format={"type": "Q8_0"}), "--type is a choice of --to gguf, not of --to llama"),
        ("hf", Options(of_format={"form": "params"}), "--form is a choice of --to easylm, not of --to hf"),
        ("hf", Options(of_format={"sort": 1}), "--sort is not a choice of --to hf"),
        ("gguf", Options(of_format={"type": "Q9"}), "--type Q9: expected one of F32, F16, .* for --to gguf"),
        ("gguf", Options(of_format={"type": "Q8_0"}, dtype="float16"), "--type and --dtype both say what gguf's"),
        ("llama", Options(of_format={"model_parallel": "0"}), "--model-parallel 0: expected a whole number from 1"),
        ("onnx", Options(), "'onnx' is not a format that Puna writes; expected one of hf, easylm, gguf, llama"),
        ("llama", Options(of_format={"model_parallel": 3}), "3"),
        ("puna", Options(), "'puna' is not a format that Puna writes"),
    ],
)
def test_choices_that_a_format_has_not_are_refused(
    model: Path, tmp_path: Path, form: str, options: Options, said: str
) -> None:
    with pytest.raises(ExportError, match=said) as caught:
        export_model(model, form, tmp_path / "out", TEXT, options)
    assert "\n" not in caught.value.message
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_an_existing_directory_is_left_alone_without_force(model: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    with pytest.raises(StorageError, match="exists already"):
        export_model(model, "hf", tmp_path / "out", TEXT, Options())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
    with pytest.raises(StorageError, match=r"holds no equivalence\.json"):
        export_model(model, "hf", tmp_path / "out", TEXT, Options(), force=True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
    (tmp_path / "out" / "equivalence.json").touch()
    export_model(model, "hf", tmp_path / "out", TEXT, Options(), force=True)
    assert not (tmp_path / "out" / "mine.txt").exists()


def test_force_does_not_delete_the_run_that_is_exported(model: Path, tmp_path: Path) -> None:
    for out in (model, tmp_path):
        with pytest.raises(StorageError, match="which --force would delete"):
            export_model(model, "hf", out, TEXT, Options(), force=True)
    load_model(model)


def test_a_model_that_is_replaced_while_it_is_exported_is_not(
    model: Path, tmp_path: Path, source: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, other = module.open_native, tmp_path / "other"
    other.mkdir()
    write_native(source(norm_eps=1e-5, n_kv_heads=4, ffn_dim=256, seed=1), None, other, inputs={}, results={})

    def replaced(path: Path, hints: Hints) -> Any:
        (other / "model.safetensors").replace(path / "model.safetensors")
        return real(path, hints)

    monkeypatch.setattr(module, "open_native", replaced)
    with pytest.raises(FormatError, match="was changed while it was read"):
        export_model(model, "hf", tmp_path / "out", TEXT, Options(run=False))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("dtype", "kind"), [("bfloat16", "BF16"), ("float16", "F16"), ("float32", "F32")])
def test_ggufs_matrices_are_rounded_to_a_dtype_and_its_gains_keep_every_bit(
    model: Path, tmp_path: Path, dtype: str, kind: str
) -> None:
    results = export_model(model, "gguf", tmp_path / "out", TEXT, Options(dtype=dtype, run=False))
    assert (tmp_path / "out" / f"model-{kind}.gguf").is_file()
    assert results.weights.identical == (21 if dtype == "float32" else 5)
    assert results.weights.converted == ({} if dtype == "float32" else {dtype: 16})
    assert results.choices == ["--dtype", dtype]


def test_a_damaged_model_is_not_exported(model: Path, tmp_path: Path) -> None:
    content = bytearray((model / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (model / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        export_model(model, "hf", tmp_path / "out", TEXT, Options())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", ["llama", "gguf", "easylm"])
def test_an_export_that_fails_its_proof_leaves_nothing(
    model: Path, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = module.WatchedCheckpoint.tensor

    def another(self: Any, name: str) -> torch.Tensor:
        tensor = right(self, name)
        return tensor + 1e-3 if name == "layers.1.attention.wk.weight" else tensor

    monkeypatch.setattr(module.WatchedCheckpoint, "tensor", another)
    with pytest.raises(ExportError, match=r"layers\.1\.attention\.wk\.weight has other values than the model"):
        export_model(model, form, tmp_path / "out", TEXT, Options())
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@ONE_MODEL
def test_nothing_of_the_oracle_is_shown(model_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    copy = shutil.copytree(model_dir, tmp_path / "model")
    export_model(copy, "hf", tmp_path / "out", TEXT, Options())
    assert capfd.readouterr() == ("", "")
