"""Models of every format become Puna models."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import puna
from puna.core.errors import CheckpointError, ExportError, FormatError, StorageError, TokenizerError, UserError
from puna.core.files import sha256_file
from puna.core.records import read_record
from puna.formats import import_model as module
from puna.formats.checkpoint import Hints
from puna.formats.gguf.write import write_gguf
from puna.formats.hf.read import HuggingFaceCheckpoint
from puna.formats.hf.write import write_hf
from puna.formats.import_model import import_model
from puna.infer.plain import generate_text
from puna.model.files import load_model
from puna.tokenizer.load import load_tokenizer
from puna.tokenizer.tokenizer import Tokenizer


@pytest.fixture
def hf(source: Callable[..., Any], tokenizer: Tokenizer, tmp_path: Path) -> Path:
    """A Hugging Face directory in bfloat16."""
    out = tmp_path / "hf"
    out.mkdir()
    write_hf(source(dtype=torch.bfloat16), tokenizer, out)
    return out


def test_the_model_talks_and_knows_where_it_came_from(hf: Path, tmp_path: Path, source: Callable[..., Any]) -> None:
    import_model(hf, tmp_path / "model", Hints())
    model = load_model(tmp_path / "model").model
    for name, tensor in source(dtype=torch.bfloat16).tensors.items():
        assert torch.equal(model.get_parameter(name), tensor)
    tokenizer = load_tokenizer(tmp_path / "model")
    assert generate_text(model, tokenizer, "def", max_tokens=4, temperature=0, top_p=1, seed=0)
    record = read_record(tmp_path / "model" / "record.json")
    assert record is not None
    assert record["inputs"]["model.safetensors"] == sha256_file(hf / "model.safetensors")
    assert record["results"]["format"] == "hf"


def test_it_says_what_it_found(hf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import_model(hf, tmp_path / "model", Hints())
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Hugging Face directory" in shown.err
    assert "21 bfloat16" in shown.err
    assert f"imported to {tmp_path / 'model'}" in shown.err


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda hf: (hf / "tokenizer.model").write_bytes(b"\0" * 9), "is not a SentencePiece model, or a damaged one"),
        (
            lambda hf: [_edit(hf / f"{name}config.json", eos_token_id=600) for name in ("", "generation_")],
            "none that is 600, at which the model ends a text",
        ),
        (lambda hf: _edit(hf / "tokenizer_config.json", added_tokens_decoder=[1]), "added_tokens_decoder is damaged"),
    ],
    ids=["damaged", "no such end", "damaged config"],
)
def test_a_tokenizer_that_cannot_be_used_is_told_and_weights_come_in_without_it(
    hf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable[[Path], Any], sentence: str
) -> None:
    change(hf)
    with pytest.raises(TokenizerError) as caught:
        import_model(hf, tmp_path / "model", Hints())
    assert sentence in caught.value.message
    assert "--no-tokenizer" in caught.value.hint
    found = puna.inspect(hf)  # it answers all the same
    assert found.tokenizer is None
    assert found.notes[-1].startswith("the tokenizer cannot be used: ")
    assert puna.import_model(hf, tmp_path / "model", no_tokenizer=True) == tmp_path / "model"
    assert "no tokenizer was brought in, so this model takes no text" in capsys.readouterr().err
    with pytest.raises(CheckpointError, match="has no tokenizer, so the model takes no text"):
        puna.load(tmp_path / "model").generate("a")
    with pytest.raises(TokenizerError, match="cannot both be given"):
        puna.import_model(hf, tmp_path / "model", no_tokenizer=True, tokenizer=hf)


def _edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_repository_in_a_cache_is_its_snapshot_and_files_below_are_hashed_by_their_place(
    hf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshot = tmp_path / "models--x--y" / "snapshots" / "0123"
    shutil.copytree(hf, snapshot)
    (snapshot / "parts").mkdir()
    names = list(load_file(snapshot / "model.safetensors"))
    (snapshot / "model.safetensors").rename(snapshot / "parts" / "one.safetensors")
    weight_map = dict.fromkeys(names, "parts/one.safetensors")
    (snapshot / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    import_model(tmp_path / "models--x--y", tmp_path / "model", Hints())
    record = read_record(tmp_path / "model" / "record.json")
    assert record is not None
    assert record["inputs"]["parts/one.safetensors"] == sha256_file(hf / "model.safetensors")


def test_a_note_on_the_weights_is_said_once_they_are_read(
    hf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = HuggingFaceCheckpoint.tensor

    def noted(self: HuggingFaceCheckpoint, name: str) -> torch.Tensor:
        if "norms differ" not in self.notes:
            self.notes.append("norms differ")
        return plain(self, name)

    monkeypatch.setattr(HuggingFaceCheckpoint, "tensor", noted)
    import_model(hf, tmp_path / "model", Hints())
    assert capsys.readouterr().err.count("note           norms differ\n") == 1
    record = read_record(tmp_path / "model" / "record.json")
    assert record is not None
    assert record["results"]["notes"] == ["norms differ"]


def test_without_a_tokenizer_it_warns(hf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in hf.glob("tokenizer*"):
        path.unlink()
    import_model(hf, tmp_path / "model", Hints())
    assert "no tokenizer was found" in capsys.readouterr().err
    load_model(tmp_path / "model")


def test_a_tokenizer_can_be_named(hf: Path, tmp_path: Path, tokenizer: Tokenizer) -> None:
    elsewhere = tmp_path / "elsewhere" / "tokenizer.model"
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(tokenizer.content)
    for path in hf.glob("tokenizer*"):
        path.unlink()
    import_model(hf, tmp_path / "model", Hints(tokenizer=elsewhere))
    assert load_tokenizer(tmp_path / "model").sha256 == tokenizer.sha256


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(
    source: Callable[..., Any], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    (tmp_path / "hf").mkdir()
    write_hf(source(vocab_size=500), tokenizer, tmp_path / "hf")
    with pytest.raises(FormatError, match=r"has 512 tokens, but .*hf has embeddings for 500"):
        import_model(tmp_path / "hf", tmp_path / "model", Hints())
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(("dtype", "expected"), [(None, torch.bfloat16), ("float32", torch.float32)])
def test_the_dtype_stays_or_is_the_one_asked_for(
    hf: Path, tmp_path: Path, dtype: str | None, expected: torch.dtype
) -> None:
    import_model(hf, tmp_path / "model", Hints(), dtype=dtype)
    assert {p.dtype for p in load_model(tmp_path / "model").model.parameters()} == {expected}


@pytest.mark.parametrize(("kind", "expected"), [("BF16", torch.bfloat16), ("Q8_0", torch.float32)])
def test_a_gguf_files_float32_gains_do_not_widen_the_model_and_quantized_weights_do(
    source: Callable[..., Any], tokenizer: Tokenizer, tmp_path: Path, kind: str, expected: torch.dtype
) -> None:
    (tmp_path / "gguf").mkdir()
    model = source(dtype=torch.bfloat16, dim=64, n_heads=2)
    write_gguf(model, tokenizer, tmp_path / "gguf", file_type=kind)
    (file,) = (tmp_path / "gguf").glob("*.gguf")
    import_model(file, tmp_path / "model", Hints())
    loaded = load_model(tmp_path / "model").model
    assert {p.dtype for p in loaded.parameters()} == {expected}
    if kind == "BF16":
        assert all(torch.equal(loaded.get_parameter(name), tensor) for name, tensor in model.tensors.items())


def test_an_existing_directory_is_left_alone_without_force(hf: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.txt").write_text("keep")
    with pytest.raises(StorageError, match="exists already"):
        import_model(hf, tmp_path / "model", Hints())
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["mine.txt"]
    with pytest.raises(StorageError, match=r"holds no model\.toml"):
        import_model(hf, tmp_path / "model", Hints(), force=True)
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["mine.txt"]
    (tmp_path / "model" / "mine.txt").rename(tmp_path / "model" / "model.toml")
    import_model(hf, tmp_path / "model", Hints(), force=True)
    load_model(tmp_path / "model")


def test_files_that_change_while_they_are_imported_are_refused(
    hf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module._hashes

    def hashed(path: Path, files: list[Path], advance: Callable[[float], None]) -> dict[str, str]:
        found = real(path, files, advance)
        content = bytearray((hf / "model.safetensors").read_bytes())
        content[-1] ^= 1
        (hf / "model.safetensors").write_bytes(content)
        return found

    monkeypatch.setattr(module, "_hashes", hashed)
    with pytest.raises(FormatError, match="was changed while it was read"):
        import_model(hf, tmp_path / "model", Hints())
    assert not (tmp_path / "model").exists()


def test_force_does_not_delete_what_is_imported(hf: Path, tmp_path: Path) -> None:
    before = sorted(path.name for path in hf.iterdir())
    for out in (hf, tmp_path):
        with pytest.raises(StorageError, match="which --force would delete"):
            import_model(hf, out, Hints(), force=True)
    assert sorted(path.name for path in hf.iterdir()) == before


def test_an_incomplete_model_is_refused_and_nothing_stays(hf: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(hf / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, hf / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(FormatError, match=r"lacks 1 tensor, the first is norm\.weight"):
        import_model(hf, tmp_path / "model", Hints())
    assert [path.name for path in tmp_path.iterdir()] == ["hf"]


def test_what_does_not_read_back_the_same_is_not_kept(
    hf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = module.write_native

    def flips_a_bit(source: Any, tokenizer: Any, directory: Path, **rest: Any) -> None:
        right(source, tokenizer, directory, **rest)
        content = bytearray((directory / "model.safetensors").read_bytes())
        content[-1] ^= 1
        (directory / "model.safetensors").write_bytes(content)

    monkeypatch.setattr(module, "write_native", flips_a_bit)
    with pytest.raises(ExportError, match="has other values than the model"):
        import_model(hf, tmp_path / "model", Hints())
    assert [path.name for path in tmp_path.iterdir()] == ["hf"]


def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    hf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    def full(*arguments: Any, **rest: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "write_native", full)
    with pytest.raises(StorageError, match="no space left"):
        import_model(hf, tmp_path / "model", Hints())
    assert [path.name for path in tmp_path.iterdir()] == ["hf"]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.99])
def test_a_truncated_file_is_one_sentence(hf: Path, tmp_path: Path, share: float) -> None:
    copy = shutil.copytree(hf, tmp_path / "copy")
    content = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError) as caught:
        import_model(copy, tmp_path / "model", Hints())
    assert "\n" not in caught.value.message
    assert not (tmp_path / "model").exists()
