"""The files of a model directory: named by a run or itself, and checked against their hashes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from puna.core.errors import CheckpointError
from puna.core.files import sha256_bytes
from puna.model import directory
from puna.model.directory import check_files, resolve_model

FILES = {
    "model.safetensors": b"weights" * 1000,
    "model.toml": b"",
    "tokenizer.model": b"pieces",
    "chat_template.jinja": b"{{ }}",
}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A directory as `check_files` sees it; what the files hold is for others to read."""
    place = tmp_path / "run" / "model"
    place.mkdir(parents=True)
    for name, content in FILES.items():
        (place / name).write_bytes(content)
    outputs = {name: sha256_bytes(content) for name, content in FILES.items()}
    record = {"schema": 1, "stage": "model", "config": {}, "inputs": {}, "outputs": outputs, "results": {}}
    (place / "record.json").write_text(json.dumps(record))
    return place


@pytest.mark.parametrize("piece", [1, 10, 7000, 1 << 25])
def test_files_are_those_that_were_written_whatever_is_read_at_a_time(
    saved: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(directory, "_PIECE", piece)
    assert check_files(saved)["stage"] == "model"
    (saved / "model.safetensors").write_bytes(FILES["model.safetensors"][:-1] + b"x")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: is damaged, its SHA-256 is not the one written"):
        check_files(saved)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_damaged_missing_or_new_is_named(saved: Path, name: str) -> None:
    content = (saved / name).read_bytes()
    (saved / name).write_bytes(content + b"x")
    with pytest.raises(CheckpointError, match=f"{name}: is damaged"):
        check_files(saved)
    (saved / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name}: is missing"):
        check_files(saved)
    (saved / name).write_bytes(content)
    check_files(saved)
    (saved / "tokenizer.model").rename(saved / "tokenizer.json")
    with pytest.raises(CheckpointError, match=r"record\.json: has no hash of tokenizer\.json"):
        check_files(saved)


def test_a_directory_without_a_record_is_not_finished(saved: Path) -> None:
    (saved / "record.json").unlink()
    with pytest.raises(CheckpointError, match="holds no finished Puna model"):
        check_files(saved)


def test_hashes_are_computed_without_torch() -> None:
    code = "import sys, puna.model.directory; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_run_and_model_directory_name_the_same_model(saved: Path) -> None:
    assert resolve_model(saved.parent) == saved
    assert resolve_model(saved) == saved


def test_path_without_a_model_gets_a_hint(tmp_path: Path, saved: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no Puna model") as caught:
        resolve_model(tmp_path / "nowhere")
    assert caught.value.hint == "`puna run demo` makes one"
    shutil.rmtree(saved)
    with pytest.raises(CheckpointError, match="holds no Puna model") as caught:
        resolve_model(tmp_path)
    assert f"`puna import {tmp_path}` makes one of a model in another format" in caught.value.hint
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(CheckpointError, match="no finished model yet") as caught:
        resolve_model(tmp_path)
    assert caught.value.hint == f"`puna train {tmp_path} --resume` finishes it"
