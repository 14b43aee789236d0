"""The text that an export is compared on."""

import os
import shutil
from pathlib import Path

import pytest

from puna.api.proof_text import proof_text
from puna.core.errors import DataError
from puna.core.layout import DataDir, RunDir
from puna.data.documents import documents_of


def test_the_users_text_comes_first(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("Das ist ein Text. " * 10_000)
    found = proof_text(tmp_path, tmp_path / "mine.txt")
    assert found.text.startswith("Das ist")
    assert len(found.text) == 20_000
    assert found.origin == str(tmp_path / "mine.txt")


@pytest.mark.parametrize(
    ("content", "said"), [(b"\xff\xfe", "is not UTF-8 text"), (b" \n", "holds no text"), (None, "cannot be read")]
)
def test_a_file_that_is_not_text_is_one_sentence(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "mine.txt").write_bytes(content)
    with pytest.raises(DataError, match=said):
        proof_text(tmp_path, tmp_path / "mine.txt")


def test_held_out_documents_of_the_runs_own_data_come_next(
    tiny_run: RunDir, tiny_data: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    os.symlink(tiny_data.root, tmp_path / "data" / "tiny")
    found = proof_text(tiny_run.root, None)
    assert found.origin == "held-out documents of data/tiny"
    for source in ("prose", "code"):
        assert next(documents_of(tiny_data, source, "heldout")).text[:5000] in found.text


def test_a_run_of_other_length_than_its_data_build_still_takes_their_held_out_text(
    tiny_run: RunDir, tiny_data: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "data").mkdir()
    os.symlink(tiny_data.root, tmp_path / "data" / "tiny")
    run = RunDir(shutil.copytree(tiny_run.root, tmp_path / "runs" / "longer"))
    run.config.write_text(run.config.read_text().replace("tokens = 6144", "tokens = 8192"))
    run.data_card.write_text("{}")  # the card says how often a run reads the data, so it is another one
    monkeypatch.chdir(tmp_path)
    assert proof_text(run.root, None).origin == "held-out documents of data/tiny"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert proof_text(run.root, None).origin == f"held-out documents of {tmp_path / 'data' / 'tiny'}"


def test_an_unfinished_run_knows_its_data_by_its_checkpoint(
    tiny_run: RunDir, tiny_data: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    os.symlink(tiny_data.root, tmp_path / "data" / "tiny")
    run = RunDir(shutil.copytree(tiny_run.root, tmp_path / "stopped"))
    run.record.unlink()
    monkeypatch.chdir(tmp_path)
    assert proof_text(run.root, None).origin == "held-out documents of data/tiny"


@pytest.mark.parametrize("damage", ["other data", "no data", "damaged"])
def test_other_text_than_the_runs_own_is_told(
    tiny_run: RunDir, tiny_data: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], damage: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    run = RunDir(shutil.copytree(tiny_run.root, tmp_path / "a" / "b" / "run"))
    if damage != "no data":
        shutil.copytree(tiny_data.root, tmp_path / "data" / "tiny")
    if damage == "other data":
        run.config.write_text(run.config.read_text().replace("seed = 3", "seed = 4", 1))
    if damage == "damaged":
        (tmp_path / "data" / "tiny" / "shards" / "prose" / "train" / "manifest.json").write_text("{}")
    assert proof_text(run.root, None).origin == "the topics of Python's help(), not held out"
    said = capsys.readouterr().err
    assert "there is no data/tiny" in said if damage == "no data" else "holds other data" in said
    assert "--text names a text of yours" in said


def test_else_it_is_pythons_help(tmp_path: Path) -> None:
    found = proof_text(tmp_path, None)
    assert "statement" in found.text
    assert found.origin == "the topics of Python's help(), not held out"
