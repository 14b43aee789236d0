"""Which format a file or directory is in."""

import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from puna.core.errors import FormatError, UserError
from puna.formats.checkpoint import Hints
from puna.formats.registry import BUILT_IN, format_named, format_of, recognise


def test_what_is_not_a_model_is_refused_with_the_formats_that_are_read(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a model")
    for path in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(FormatError, match="is not in a format that Puna reads") as caught:
            recognise(path)
        assert all(f"({form.name})" in caught.value.hint for form in BUILT_IN)
    with pytest.raises(FormatError, match="is not there"):
        recognise(tmp_path / "absent")


META = '{"dim": 64, "n_layers": 2, "n_heads": 4, "norm_eps": 1e-5, "vocab_size": 300, "multiple_of": 32}'


@pytest.mark.parametrize(
    "name", ["a.gguf", "hf/model.safetensors", "hf/pytorch_model.bin", "meta/consolidated.00.pth", "meta", "hf"]
)
def test_what_git_lfs_leaves_in_place_of_weights_is_named(tmp_path: Path, name: str) -> None:
    """A repository that was cloned without Git LFS has such files of 130 bytes."""
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    for directory, config, weights in (
        ("hf", "config.json", "model.safetensors"), ("hf", "config.json", "pytorch_model.bin"),
        ("meta", "params.json", "consolidated.00.pth"), (".", "x", "a.gguf"),
    ):  # fmt: skip
        (tmp_path / directory).mkdir(exist_ok=True)
        (tmp_path / directory / config).write_text(LLAMA if directory == "hf" else META)
        (tmp_path / directory / weights).write_text(pointer)
    with pytest.raises(FormatError, match="is not the file itself, but what Git LFS leaves in its place"):
        format_of(tmp_path / name).open(tmp_path / name, Hints())


@pytest.mark.parametrize("content", [b"", b"\x00", b"\xff" * 40, b"{}", b"GGUF", b"PK\x03\x04", b"\x92" * 9])
def test_no_recogniser_raises_for_any_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(content)
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory" / "config.json").write_bytes(content)
    (tmp_path / "directory" / "params.json").write_bytes(content)
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    for form in BUILT_IN:
        for candidate in (path, *(tmp_path / name for name in ("directory", "absent", "dangling", "long" * 100))):
            assert form.recognises(candidate) in (True, False)


LLAMA = json.dumps({
    "model_type": "llama", "vocab_size": 300, "hidden_size": 80, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "rope_theta": 1e4,
})  # fmt: skip
PLACES: dict[str, dict[str, str]] = {
    "config.json": {"model.safetensors": ""},
    "model.safetensors": {"config.json": LLAMA},
    "model.safetensors.index.json": {"config.json": LLAMA},
    "pytorch_model.bin": {"config.json": LLAMA},
    "pytorch_model.bin.index.json": {"config.json": LLAMA},
    "params.json": {"consolidated.00.pth": ""},
    "consolidated.00.pth": {"params.json": '{"dim": 80, "n_layers": 2, "n_heads": 4}'},
    "model.toml": {},
    "m.gguf": {},
    "model.bin": {},
    "epoch_1.pt": {"params.txt": "model: tiny"},
    "streaming_params": {},
}
"""Files that are parsed, and what lies beside them so that they are."""


@pytest.mark.parametrize("kind", ["pipe", "device", "sparse", "directory"])
@pytest.mark.parametrize("place", PLACES)
def test_what_is_not_a_file_of_its_kind_is_one_sentence_and_takes_no_memory(
    tmp_path: Path, place: str, kind: str
) -> None:
    """Nothing waits for a pipe, and of a device or of 3 GB of nothing no more is read than a header may have."""
    for name, content in PLACES[place].items():
        (tmp_path / name).write_text(content)
    path = tmp_path / place
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "sparse":
            path.touch()
            os.truncate(path, 3 << 30)
        case "directory":
            path.mkdir()
    tracemalloc.start()
    try:
        with pytest.raises(UserError) as caught:
            format_of(tmp_path).open(tmp_path, Hints())
        assert tracemalloc.get_traced_memory()[1] < 48 << 20
    finally:
        tracemalloc.stop()
    assert "\n" not in caught.value.message


def test_what_cannot_be_read_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FormatError, match="cannot be read: File name too long"):
        recognise(tmp_path / ("long" * 100))
    asked = []
    monkeypatch.setattr("os.access", lambda path, mode: asked.append((path, mode)))  # root may read everything
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file"):
        with pytest.raises(FormatError, match="cannot be read: Permission denied"):
            recognise(path)
    assert asked == [(tmp_path, os.R_OK | os.X_OK), (tmp_path / "file", os.R_OK)]


def test_formats_are_found_by_name() -> None:
    assert [format_named(form.name) for form in BUILT_IN] == list(BUILT_IN)
    with pytest.raises(FormatError, match="'onnx' is not a format; expected one of puna, puna-checkpoint, openlm, hf"):
        format_named("onnx")


@pytest.mark.parametrize("model_dir", ["grouped heads"], indirect=True)
def test_a_model_is_opened_by_its_mark_or_by_name(model_dir: Path, source: Callable[..., Any]) -> None:
    assert format_of(model_dir).open(model_dir, Hints()).format == "puna"
    assert format_of(model_dir, "puna").open(model_dir, Hints(n_heads=4)).config.n_heads == 4
    with pytest.raises(FormatError):
        format_of(model_dir, "gguf").open(model_dir, Hints())


@pytest.mark.parametrize("form", [form.name for form in BUILT_IN])
def test_a_path_that_cannot_be_read_is_one_sentence_in_every_format(tmp_path: Path, form: str) -> None:
    for path in (tmp_path / ("x" * 300), tmp_path / "absent"):
        with pytest.raises(UserError) as caught:
            format_named(form).open(path, Hints())
        assert "\n" not in caught.value.message
