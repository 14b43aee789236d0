import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from puna.core.errors import DataError
from puna.data.tasks.task import Progress, Task


@dataclass(frozen=True, eq=False)
class Shout(Task):
    """Writes a word in capitals, unless it is `bad`, and counts how often it was asked."""

    word: str
    calls: list[str]

    @property
    def stage(self) -> str:
        return "shout"

    @property
    def made_from(self) -> str:
        return self.word

    @property
    def input_bytes(self) -> int:
        return len(self.word)

    def work_on(self, progress: Progress) -> dict:
        self.calls.append(self.word)
        progress.advance(1)
        (self.directory / ".tmp-x").write_text("left over")
        if self.word == "bad":
            raise DataError("it is bad", hint="be good")
        if self.word == "poor":
            raise ModuleNotFoundError("No module named 'kenlm'", name="kenlm")
        (self.directory / "out.txt").write_text(self.word.upper())
        return {"letters": len(self.word)}


def test_a_task_is_done_once_and_its_directory_is_named_by_its_inputs(tmp_path: Path):
    calls: list[str] = []
    for word in ("a", "b", "a"):
        Shout(tmp_path, word, calls).run()
    assert calls == ["a", "b"]
    first, second = Shout(tmp_path, "a", calls), Shout(tmp_path, "b", calls)
    assert first.is_done
    assert first.directory != second.directory
    assert first.results() == {"letters": 1}
    assert list(first.hashes()) == ["out.txt"]
    assert first.checked("out.txt").read_text() == "A"


def test_what_a_user_can_mend_is_left_as_a_file_and_tried_again(tmp_path: Path):
    calls: list[str] = []
    task = Shout(tmp_path, "bad", calls)
    assert task.failure() is None
    task.run()
    failure = task.failure()
    assert failure is not None
    assert (failure.message, failure.hint) == ("it is bad", "be good")
    assert not task.is_done
    task.run()
    assert calls == ["bad", "bad"]


def test_a_package_that_is_not_installed_on_a_worker_is_named(tmp_path: Path):
    task = Shout(tmp_path, "poor", [])
    task.run()
    failure = task.failure()
    assert failure is not None
    assert (failure.message, failure.hint) == (
        "this command needs the package 'kenlm', which is not installed", "pip install 'puna[perplexity]'"
    )  # fmt: skip


def test_progress_is_what_the_task_says_and_everything_when_it_is_done(tmp_path: Path):
    task = Shout(tmp_path, "word", [])
    assert task.done_bytes() == 0
    task.directory.mkdir(parents=True)
    (task.directory / "progress").write_text("3")
    assert task.done_bytes() == 3
    (task.directory / "progress").write_text("99999")
    assert task.done_bytes() == 4
    (task.directory / "progress").write_text("x")
    assert task.done_bytes() == 0
    task.run()
    assert task.done_bytes() == 4


@pytest.mark.parametrize("damage", ["changed", "missing", "unlisted"])
def test_a_file_that_is_not_what_was_written_is_refused(tmp_path: Path, damage: str):
    task = Shout(tmp_path, "a", [])
    task.run()
    path = task.directory / "out.txt"
    if damage == "changed":
        path.write_text("B")
    elif damage == "missing":
        path.unlink()
    else:
        record = json.loads((task.directory / "task.json").read_text())
        (task.directory / "task.json").write_text(json.dumps(record | {"files": {}}))
    with pytest.raises(DataError, match=r"out\.txt: is missing, or is not the file that task\.json"):
        task.checked("out.txt")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"results": 1, "files": {}}'])
def test_a_damaged_record_is_named(tmp_path: Path, content: str):
    task = Shout(tmp_path, "a", [])
    task.run()
    (task.directory / "task.json").write_text(content)
    with pytest.raises(DataError, match=r"task\.json: is missing or damaged"):
        task.results()


def test_a_task_that_runs_again_is_not_done_while_its_files_are_replaced(tmp_path: Path, monkeypatch):
    task = Shout(tmp_path, "bad", [])
    task.directory.mkdir(parents=True)
    (task.directory / "task.json").write_text('{"results": {}, "files": {}}')
    assert task.is_done
    with monkeypatch.context() as patch:
        patch.setattr(Shout, "is_done", False)
        task.run()
    assert not task.is_done


def test_files_that_are_gone_are_still_among_those_that_were_made(tmp_path: Path):
    task = Shout(tmp_path, "a", [])
    task.run()
    assert task.is_whole
    (task.directory / "out.txt").unlink()
    assert task.made("out", ".txt") == ["out.txt"]
    assert task.made("in", ".txt") == []
    assert not task.is_whole


def test_a_file_is_hashed_once_by_each_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    task = Shout(tmp_path, "a", [])
    task.run()
    task.checked("out.txt")
    monkeypatch.setattr("puna.data.tasks.task.sha256_file", None)
    assert task.checked("out.txt").read_text() == "A"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}"])
def test_half_a_message_of_failure_is_none(tmp_path: Path, content: bytes):
    task = Shout(tmp_path, "bad", [])
    task.run()
    (task.directory / "error.json").write_bytes(content)
    assert task.failure() is None


def test_progress_that_cannot_be_written_is_not_an_error_of_the_input(tmp_path: Path):
    Progress(tmp_path / "missing" / "progress").advance(1)
    assert not list(tmp_path.iterdir())
