"""Records: they come back as they were written; damaged ones and those of another format are refused."""

import json
import re
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from puna import __version__
from puna.core import records
from puna.core.errors import DataError
from puna.core.records import SCHEMA, Record, command_line, commit, machine, packages, read_record


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "record.json"
    Record("tokenizer", {"vocab_size": 512}, {"documents": "ab"}, {"tokenizer.model": "cd"}, {"bytes": 1.5}).write(path)
    return path


def test_record_comes_back_as_it_was_written(written: Path) -> None:
    record = read_record(written)
    assert record is not None
    assert record["schema"] == SCHEMA
    assert record["stage"] == "tokenizer"
    assert record["config"] == {"vocab_size": 512}
    assert record["inputs"] == {"documents": "ab"}
    assert record["outputs"] == {"tokenizer.model": "cd"}
    assert record["results"] == {"bytes": 1.5}
    assert record["puna"] == __version__


def test_record_says_when_it_was_begun_and_how_long_it_took(written: Path) -> None:
    record = read_record(written)
    assert record is not None
    assert datetime.fromisoformat(record["started"]).utcoffset() is not None
    assert 0 <= record["seconds"] < 60


def test_record_has_the_keys_of_the_documentation(written: Path) -> None:
    documented = set(re.findall(r'^[ {]*"(\w+)":|, "(\w+)":', records.__doc__ or "", re.MULTILINE))
    keys = {first or second for first, second in documented} - {"vocab_size"}
    assert keys == set(read_record(written) or {})


def test_a_stage_without_record_has_not_finished(tmp_path: Path) -> None:
    assert read_record(tmp_path / "record.json") is None
    (tmp_path / "file").write_text("")
    assert read_record(tmp_path / "file" / "record.json") is None


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"3", b'"schema"', b"null", b"{}", b"\xff\xfe\x00", b'{"schema": 1', b"[" * 100_000],
)
def test_damaged_record_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_record(path)
    hint = f"delete {tmp_path} and run the stage again"
    assert str(caught.value) == f"{path}: is not a record of a stage\n  hint: {hint}"


@pytest.mark.parametrize(("field", "value"), [("config", None), ("results", []), ("stage", 1), ("inputs", "x")])
def test_record_with_a_damaged_field_is_refused(written: Path, field: str, value: Any) -> None:
    written.write_text(json.dumps(json.loads(written.read_text()) | {field: value}))
    with pytest.raises(DataError, match=f"the record has no '{field}' or a damaged one"):
        read_record(written)


def test_record_of_another_format_is_refused(written: Path) -> None:
    written.write_text(json.dumps(json.loads(written.read_text()) | {"schema": 99}))
    with pytest.raises(DataError, match=f"is record format 99, this version of Puna reads {SCHEMA}"):
        read_record(written)


def test_record_that_cannot_be_read_is_a_users_error(tmp_path: Path) -> None:
    (tmp_path / "record.json").mkdir()
    with pytest.raises(DataError, match="cannot be read"):
        read_record(tmp_path / "record.json")


def test_two_records_do_not_share_their_tables() -> None:
    first, second = Record("a"), Record("b")
    first.outputs["x"] = "y"
    assert second.outputs == {}


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["/opt/bin/puna", "run", "demo"], "puna run demo"),
        (["/x/puna/__main__.py", "train", "a b.toml"], "puna train 'a b.toml'"),
        (["/x/pytest", "-q"], "pytest -q"),
    ],
)
def test_command_is_shown_as_a_user_would_type_it(monkeypatch: pytest.MonkeyPatch, argv: list[str], shown: str) -> None:
    monkeypatch.setattr("sys.argv", argv)
    assert command_line() == shown


@pytest.fixture
def source_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository that looks as if the records module lay in it."""
    module = tmp_path / "src" / "puna" / "core" / "records.py"
    module.parent.mkdir(parents=True)
    module.write_text("")
    monkeypatch.setattr(records, "__file__", str(module))
    return module


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", "-C", str(root), *identity, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_commit_is_none_for_an_installed_package(source_tree: Path) -> None:
    assert commit() is None


def test_commit_names_the_head_and_marks_changes(source_tree: Path, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    assert commit() is None
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert commit() == head
    source_tree.write_text("changed")
    assert commit() == f"{head}+"


def test_commit_is_none_where_git_is_missing(
    source_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", "")
    assert commit() is None


def test_machine_and_packages_are_named() -> None:
    found = machine()
    assert found["system"]
    assert found["processor"]
    assert found["cores"] >= 1
    (kibibytes,) = re.findall(r"^MemTotal: +(\d+) kB", Path("/proc/meminfo").read_text(), flags=re.MULTILINE)
    assert found["memory_bytes"] == pytest.approx(int(kibibytes) * 1024, rel=0.01)
    assert re.fullmatch(r"\d+\.\d+.*", packages()["numpy"])
