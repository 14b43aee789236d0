"""Looking at documents: the right ones, in order, at random, and never all at once."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.chat.example import Example
from puna.chat.messages import Message
from puna.chat.tools import ToolCall
from puna.core.errors import DataError
from puna.core.files import sha256_file, write_json
from puna.core.layout import DataDir
from puna.core.records import Record
from puna.data.document import Document, Dropped
from puna.data.document_files import LinesWriter
from puna.data.inspect import Cursor, Inspection, Kept, about, sample, shown_text, without_controls

KEPT = {
    ("prose", "train"): [{"id": "a", "text": "Of arms"}, {"id": "b", "text": "and the man"}],
    ("prose", "heldout"): [{"id": "c", "text": "I sing"}],
    ("code", "train"): [{"id": "d", "text": "print(1)", "licence": "MIT"}],
}
DROPPED = {
    "prose": [
        {"id": "e", "reason": "duplicate", "detail": "prose/a", "text": "Of arms"},
        {"id": "f", "reason": "c4.few_sentences"},
    ],
    "code": [{"id": "g", "reason": "duplicate", "detail": "code/d"}],
}


@pytest.fixture
def build(out: DataDir) -> DataDir:
    """The documents of two sources; one source has two files."""
    listing: dict[str, Any] = {source: {} for source in DROPPED}
    files = KEPT | {(source, "dropped"): rows for source, rows in DROPPED.items()}
    for (source, kind), rows in files.items():
        parts = [rows[:1], rows[1:]] if source == "prose" else [rows]
        for number, part in enumerate(parts):
            path = f"{source}/{kind}/{number:05d}.jsonl.zst"
            with LinesWriter(out.documents / path) as file:
                for row in part:
                    file.write({"origin": "shelf"} | row if kind != "dropped" else row)
            fields = {"path": path, "sha256": "", "bytes": 0, "made_by": ""}
            listing[source].setdefault(kind, []).append(fields)
    write_json(out.documents / "files.json", listing)
    record = Record("documents", config={"keep_dropped": True})
    record.outputs = {"files.json": sha256_file(out.documents / "files.json")}
    one = {"documents": 1, "bytes": 0}
    record.results = {
        "prose": {"steps": {"c4": {"dropped": {"c4.few_sentences": one}}, "dedup": {"dropped": {"duplicate": one}}}},
        "code": {"steps": {"dedup": {"dropped": {"duplicate": one}}}},
    }
    record.write(out.documents / "record.json")
    return out


def test_kept_documents_come_source_by_source_with_training_text_first(build: DataDir):
    rows = list(Inspection(build).kept())
    assert [(row.document.source, row.split, row.document.id) for row in rows] == [
        ("prose", "train", "a"), ("prose", "train", "b"), ("prose", "heldout", "c"), ("code", "train", "d"),
    ]  # fmt: skip
    assert rows[3].document.licence == "MIT"


def test_dropped_documents_come_with_reason_and_what_was_kept_instead(build: DataDir):
    rows = list(Inspection(build).dropped())
    assert rows == [
        Dropped("prose", "e", "duplicate", "prose/a", "Of arms"),
        Dropped("prose", "f", "c4.few_sentences"),
        Dropped("code", "g", "duplicate", "code/d"),
    ]


def test_a_reason_and_a_source_choose(build: DataDir):
    assert [row.id for row in Inspection(build).dropped("duplicate")] == ["e", "g"]
    prose = Inspection(build, "prose")
    assert [row.id for row in prose.dropped("duplicate")] == ["e"]
    assert [row.document.id for row in prose.kept()] == ["a", "b", "c"]
    assert Inspection(build).reasons == {"duplicate": 2, "c4.few_sentences": 1}
    assert Inspection(build, "code").reasons == {"duplicate": 1}


def test_text_is_found_in_any_case_and_in_ids_and_details(build: DataDir):
    assert [row.document.id for row in Inspection(build, text="ARMS").kept()] == ["a"]
    assert [row.id for row in Inspection(build, text="arms").dropped()] == ["e"]
    assert [row.id for row in Inspection(build, text="Code/D").dropped()] == ["g"]
    assert list(Inspection(build, text="nowhere").kept()) == []


def test_a_reason_that_is_not_there_is_refused_with_those_that_are(build: DataDir):
    Inspection(build).check_reason("duplicate")
    with pytest.raises(DataError, match="--reason empty: no document of prose, code") as error:
        Inspection(build).check_reason("empty")
    assert error.value.hint == "there are: duplicate (2), c4.few_sentences (1)"
    with pytest.raises(DataError, match="no document of code was dropped for it"):
        Inspection(build, "code").check_reason("c4.few_sentences")


def test_a_source_that_is_not_there_is_refused(build: DataDir):
    with pytest.raises(DataError, match="has no source 'poems', but prose, code"):
        Inspection(build, "poems")


def test_a_build_that_is_missing_or_damaged_is_named(build: DataDir, out: DataDir):
    with pytest.raises(DataError, match="no documents are here"):
        Inspection(DataDir(out.root / "nowhere"))
    record = out.documents / "record.json"
    text = record.read_text()
    for damaged in (
        "[]",
        "{",
        text.replace('"keep_dropped"', '"other"'),
        text.replace('"steps": {', '"steps": 3, "x": {'),
    ):
        record.write_text(damaged)
        with pytest.raises(DataError, match=r"record\.json: is not a record"):
            Inspection(out)


def test_a_damaged_line_is_named_with_its_file(build: DataDir):
    with LinesWriter(build.documents / "code/dropped/00000.jsonl.zst") as file:
        file.write({"id": "g", "reason": "duplicate"})
        file.write({"id": "h", "surprise": 1})
    rows = Inspection(build).dropped()
    with pytest.raises(DataError, match=r"code/dropped/00000\.jsonl\.zst: line 2 is damaged"):
        list(rows)


def test_nothing_is_read_before_it_is_asked_for(build: DataDir):
    for path in build.documents.glob("*/*/*.zst"):
        if "prose/train/00000" not in str(path):
            path.write_bytes(b"damaged")
    first = next(Inspection(build).kept())
    assert isinstance(first, Kept)
    assert first.document.id == "a"


@given(st.integers(0, 50), st.integers(1, 20), st.integers())
def test_a_sample_is_a_part_in_order_and_the_seed_decides_it(rows: int, count: int, seed: int):
    chosen = sample(iter(range(rows)), count, seed)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(rows, count)
    assert set(chosen) <= set(range(rows))
    assert chosen == sample(range(rows), count, seed)


def test_every_row_is_as_likely_to_be_in_a_sample():
    seen = Counter(row for seed in range(4000) for row in sample(range(10), 3, seed))
    # Mean 1200, standard deviation 29.
    assert all(1200 - 150 < seen[row] < 1200 + 150 for row in range(10))


def test_a_sample_holds_no_more_rows_than_it_has():
    alive = 0

    class Row:
        def __init__(self) -> None:
            nonlocal alive
            alive += 1
            assert alive <= 5

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    assert len(sample((Row() for _ in range(500)), 3, 0)) == 3


@given(st.lists(st.integers(0, 30), max_size=30))
def test_a_cursor_gives_every_row_by_its_number_in_any_order(numbers: list[int]):
    cursor = Cursor(lambda: iter(range(25)))
    for number in numbers:
        assert cursor.get(number) == (number if number < 25 else None)


def test_a_cursor_reads_again_only_what_it_has_forgotten():
    begun = 0

    def rows() -> Iterator[int]:
        nonlocal begun
        begun += 1
        yield from range(100)

    cursor = Cursor(rows)
    assert [cursor.get(number) for number in (0, 5, 0, 50, 45)] == [0, 5, 0, 50, 45]
    assert begun == 1
    assert cursor.get(3) == 3
    assert begun == 2


@given(st.text())
def test_no_text_commands_a_terminal(text: str):
    shown = without_controls(text)
    assert len(shown) == len(text)
    assert all(character.isprintable() or character in "\n\t" or not character.isascii() for character in shown)
    assert not set(shown) & set("\x1b\x9b\u202e\u2066\r\x07\ud800")


def test_ordinary_text_is_shown_as_it_is():
    assert without_controls("naïve\n\t日本語 🐘") == "naïve\n\t日本語 🐘"


def test_examples_are_shown_turn_by_turn():
    call = Message("assistant", "", (ToolCall("1", "add", '{"x": 1}'),))
    example = Example(
        messages=(Message("system", "s"), Message("user", "a\n\nb")), chosen=(call,),
        rejected=(Message("assistant", "no"),), task="t",
    )  # fmt: skip
    document = Document("s", "i", example.text, "o", licence="MIT", turns=example.json())
    assert shown_text(document) == (
        '[system]\ns\n\n[user]\na\n\nb\n\n[chosen: assistant]\nadd({"x": 1})\n\n[rejected: assistant]\nno'
    )
    assert about(Kept(document, "train")) == ["o", "task t · MIT"]
    plain = Document("s", "i", "text", "o")
    assert (shown_text(plain), about(Kept(plain, "train"))) == ("text", ["o"])
