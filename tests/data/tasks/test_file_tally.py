"""Which files gave nothing or broke off, and that a build that goes on from a chunk counts the same."""

from pathlib import Path
from typing import Any

import pytest

from puna.data.document import Document, Dropped, Raw
from puna.data.input_file import InputFile
from puna.data.tasks import file_tally
from puna.data.tasks.counts import Counts, total
from puna.data.tasks.file_tally import FileTally, fewer_names

KEPT = Document("s", "id", "text", "o")
NAMES = ["good", "empty", "cut.gz", "page.html", "dump.gz", "rows"]


def dropped(reason: str, name: str = "id") -> Dropped:
    return Dropped("s", name, reason)


RECORDS: list[tuple[int, Raw | Dropped, Document | Dropped]] = [
    (0, Raw("good#0", b""), KEPT),
    (0, Raw("good#1", b""), dropped("rows.broken")),
    (2, Raw("cut.gz#0", b""), KEPT),
    (2, dropped("unreadable"), dropped("unreadable")),
    (3, Raw("page.html", b""), dropped("binary")),  # a document of its own, named among the dropped ones
    (4, Raw("dump.gz", b""), dropped("empty")),  # by its name an archive, so nobody expects one document
    (5, Raw("rows#0", b""), dropped("rows.broken")),
    (5, Raw("rows#1", b""), dropped("rows.broken")),
    (5, dropped("archive.bomb"), dropped("archive.bomb")),
]
EXPECTED = {
    "read": 6,
    "bytes": 60,
    "nothing": {
        "reasons": {"no_record": 1, "empty": 1, "rows.broken": 1},
        "named": {
            "empty": {"no_record": 1},
            "dump.gz": {"empty": 1},
            "rows": {"rows.broken": 2, "archive.bomb": 1},
        },
    },
    "broken": {"reasons": {"unreadable": 1}, "named": {"cut.gz": {"unreadable": 1}}},
}


def tallied(chunks: list[int]) -> Counts:
    """The counts of the records, cut into chunks before the records of these numbers, each with a tally of its own."""
    files = [InputFile(f"/{name}", name, 10, "") for name in NAMES]
    counts: list[Counts] = [{}]
    tally = FileTally(files, {})
    for number, (order, raw, verdict) in enumerate(RECORDS):
        if number in chunks:
            tally = FileTally(files, tally.state)
            counts.append({})
        tally.add(order, raw if isinstance(raw, Dropped) else Raw(raw.id, b""), _named(raw, verdict), counts[-1])
    tally = FileTally(files, tally.state)
    tally.reach(len(files), last := {})
    return total([*counts, last])


def _named(raw: Raw | Dropped, verdict: Document | Dropped) -> Document | Dropped:
    return verdict if isinstance(verdict, Document) else Dropped("s", raw.id, verdict.reason)


@pytest.mark.parametrize("chunks", [[], [1], [1, 2, 3], list(range(1, 9))])
def test_files_that_gave_nothing_or_broke_off_are_counted_and_named_however_the_task_is_cut(chunks: list[int]):
    assert tallied(chunks) == {"files": EXPECTED}


def test_names_are_bounded_and_counts_are_not(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(file_tally, "NAMED", 2)
    counts = fewer_names(tallied([]))["files"]
    assert counts["nothing"]["reasons"] == EXPECTED["nothing"]["reasons"]
    assert sum(len(counts[kind]["named"]) for kind in ("nothing", "broken")) == 2
    many: dict[str, Any] = {"nothing": {"named": {"c": {}, "b": {}, "a": {}}}, "broken": {"named": {}}}
    assert list(fewer_names({"files": many})["files"]["nothing"]["named"]) == ["a", "b"]


def test_a_task_without_files_has_no_figures(tmp_path: Path):
    FileTally([], {}).reach(0, counts := {})
    assert counts == {}
