"""Chunks of a task: what has its note is whole, and everything else is done again."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from puna.core.errors import DataError
from puna.core.files import sha256_file
from puna.data.document import Document, Dropped
from puna.data.document_files import read_lines, read_numbered
from puna.data.tasks.chunks import DONE, DROPPED, KEPT, REPORT, Chunk, chunk_files, finished_chunks
from puna.data.tasks.counts import Counts
from puna.data.tasks.task import Progress, Task

POEM = Document("a", "1", "Tyger Tyger", "shelf", licence="CC0")


def write(directory: Path, number: int, *, keep_text: bool = False) -> None:
    with Chunk(directory, number, keep_text=keep_text) as chunk:
        chunk.keep(7, POEM)
        chunk.drop(8, Dropped("a", "2", "empty", "why", "its text"))
        chunk.counts = {"documents": number}
        chunk.next = [number + 1, 0]


def test_a_chunk_is_read_back_with_its_note(tmp_path: Path):
    write(tmp_path, 0)
    (numbered,) = read_numbered(tmp_path / KEPT.format(0), "a")
    assert (numbered.number, numbered.document) == (7, POEM)
    assert list(read_lines(tmp_path / DROPPED.format(0))) == [{"n": 8, "id": "2", "reason": "empty", "detail": "why"}]
    assert finished_chunks(tmp_path) == [
        {
            "next": [1, 0],
            "counts": {"documents": 0},
            "state": {},
            "files": {name: sha256_file(tmp_path / name) for name in (KEPT.format(0), DROPPED.format(0))},
        }
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "chunk-00000.json", "dropped-00000.jsonl.zst", "kept-00000.jsonl.zst"
    ]  # fmt: skip


def test_the_text_of_what_is_dropped_is_kept_where_the_recipe_asks_for_it(tmp_path: Path):
    write(tmp_path, 0, keep_text=True)
    (line,) = read_lines(tmp_path / DROPPED.format(0))
    assert line["text"] == "its text"


def test_text_that_is_not_unicode_is_dropped_with_question_marks(tmp_path: Path):
    with Chunk(tmp_path, 0, keep_text=True) as chunk:
        chunk.drop(8, Dropped("a", "2\ud800", "invalid_utf8", "", "half \udc00 a pair"))
        chunk.next = [1, 0]
    (line,) = read_lines(tmp_path / DROPPED.format(0))
    assert line == {"n": 8, "id": "2?", "reason": "invalid_utf8", "text": "half ? a pair"}


def test_reports_and_the_files_of_others_belong_to_the_chunk(tmp_path: Path):
    def beside(number: int) -> list[str]:
        (tmp_path / f"hashes-{number}").write_text("x")
        return [f"hashes-{number}"]

    with Chunk(tmp_path, 3, keep_text=False, sidecar=beside) as chunk:
        chunk.reports = [{"rule": "pii", "found": 1}, {"rule": "code", "found": 2}]
        chunk.next = [4, 0]
    note = json.loads((tmp_path / DONE.format(3)).read_text())
    assert set(note["files"]) == {KEPT.format(3), DROPPED.format(3), REPORT.format(3), "hashes-3"}
    assert list(read_lines(tmp_path / REPORT.format(3))) == [
        {"rule": "pii", "found": 1}, {"rule": "code", "found": 2}
    ]  # fmt: skip


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_chunk_that_ends_badly_leaves_nothing(tmp_path: Path, error: type[BaseException]):
    calls: list[int] = []

    def interrupted() -> None:
        with Chunk(tmp_path, 0, keep_text=False, sidecar=lambda number: calls.append(number) or []) as chunk:
            chunk.keep(7, POEM)
            chunk.reports = [{"rule": "pii"}]
            raise error

    with pytest.raises(error):
        interrupted()
    assert calls == []
    assert list(tmp_path.iterdir()) == []
    assert finished_chunks(tmp_path) == []


def test_chunks_behind_a_gap_are_not_done(tmp_path: Path):
    for number in (0, 1, 3):
        write(tmp_path, number)
    assert [chunk["counts"]["documents"] for chunk in finished_chunks(tmp_path)] == [0, 1]


@pytest.mark.parametrize("kind", [KEPT, DROPPED])
@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_file_of_a_chunk_that_is_not_what_was_written_is_named(tmp_path: Path, kind: str, damage: str):
    write(tmp_path, 0)
    write(tmp_path, 1)
    path = tmp_path / kind.format(1)
    if damage == "changed":
        path.write_bytes(path.read_bytes() + b"x")
    else:
        path.unlink()
    with pytest.raises(DataError) as caught:
        finished_chunks(tmp_path)
    assert caught.value.message.startswith(f"{path}: ")
    assert str(tmp_path) in caught.value.hint


@pytest.mark.parametrize(
    "note",
    ["", "{", "[]", "{}", '{"next": 1, "counts": {}, "files": {}}', '{"next": [], "counts": [], "files": {}}',
     '{"next": [], "counts": {}, "files": []}', '{"counts": {}, "files": {}}'],
)  # fmt: skip
def test_a_damaged_note_is_named(tmp_path: Path, note: str):
    write(tmp_path, 0)
    (tmp_path / DONE.format(0)).write_text(note)
    with pytest.raises(DataError, match=r"chunk-00000\.json: "):
        finished_chunks(tmp_path)


@dataclass(frozen=True, eq=False, repr=False)
class Chunked(Task):
    """Writes twelve chunks."""

    stage = "chunked"
    made_from = "nothing"
    input_bytes = 0

    def work_on(self, progress: Progress) -> Counts:
        for number in range(12):
            write(self.directory, number)
        return {}


def test_files_of_one_kind_come_in_the_order_of_their_chunks(tmp_path: Path):
    task = Chunked(tmp_path)
    with pytest.raises(DataError, match=r"task\.json: is missing"):
        chunk_files(task, KEPT)
    task.run()
    for kind in (KEPT, DROPPED, DONE):
        assert chunk_files(task, kind) == [kind.format(number) for number in range(12)]
    assert chunk_files(task, REPORT) == []
