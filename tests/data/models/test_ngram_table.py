import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.config.rules import DecontaminateRules
from puna.core.errors import DataError
from puna.data.models.evaluation_rows import Row
from puna.data.models.ngram_table import NgramTable, Overlap, hashes_of, row_hashes
from puna.data.text.words import normalised_words

LONG = "Natalia sold clips to 48 of her friends in April and then half as many more in May."


@pytest.fixture
def sets(tmp_path: Path) -> DecontaminateRules:
    (tmp_path / "quiz.jsonl").write_text(
        json.dumps({"question": LONG, "answer": "She sold seventy two of them, which is a lot of clips"}) + "\n"
        '{"question": "too short for that"}\n'
        + json.dumps(["filler " * 3 + "one two three four five six seven"])
        + "\n"
    )
    (tmp_path / "copy.txt").write_text(LONG + "\n\nseveral words of a second paragraph stand here\n")
    return DecontaminateRules(sets={"quiz": str(tmp_path / "quiz.jsonl"), "again": str(tmp_path / "copy.txt")}, ngram=6)


def test_a_set_counts_its_rows_those_compared_and_its_own_ngrams(sets):
    table = NgramTable.build(sets)
    words = len(normalised_words(LONG))
    assert table.sets == {
        "again": {"rows": 2, "compared": 2, "whole": 0, "ngrams": words - 5 + 3},
        "quiz": {"rows": 3, "compared": 2, "whole": 0, "ngrams": 7 + 5},
    }
    assert table.hashes.size == words - 5 + 3 + 12
    assert (np.diff(table.hashes) > 0).all()


def test_what_a_text_has_in_common_is_told_row_by_row(sets):
    table = NgramTable.build(sets)
    assert table.overlaps(hashes_of("Nothing of that stands in this text, not even " + LONG[:25])) == []
    text = f"See: {LONG.upper()} And: SEVERAL WORDS, of a second paragraph!"
    assert table.overlaps(hashes_of(text)) == [
        Overlap("again", "copy.txt", 1, ngrams=13, words=18, first=1),
        Overlap("again", "copy.txt", 2, ngrams=1, words=6, first=20),
    ]
    twice = "x filler one two three four five six seven y one two three four five six z"
    assert table.overlaps(hashes_of(twice)) == [Overlap("quiz", "quiz.jsonl", 3, ngrams=4, words=14, first=1)]


@given(st.lists(st.sampled_from(["ab", "cd", "ef", "gh", "ij", "kl"]), min_size=6, max_size=80))
def test_words_in_common_are_those_in_any_common_ngram(words):
    found = _TABLE.overlaps(hashes_of(" ".join(words)))
    ngrams = (["ab", "cd", "ef", "gh"], ["cd", "ef", "gh", "ij"])
    common = {at + place for at in range(len(words) - 3) if words[at : at + 4] in ngrams for place in range(4)}
    assert [overlap.words for overlap in found] == ([len(common)] if common else [])
    assert [overlap.first for overlap in found] == ([min(common)] if common else [])


def _table() -> NgramTable:
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "a.txt").write_text("ab cd ef gh ij")
        return NgramTable.build(DecontaminateRules(sets={"a": f"{name}/a.txt"}, ngram=4))


_TABLE = _table()


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("0, 1, 2, 3, 4, 5, 6, 7", 0),
        ("a b c d e f", 0),
        ("x1 x2 x3 total sum", 1),
        ("x1 x2 total sum of", 2),
        ("two words 1 2 3 words two", 2),
        ("eight words stand here without any number whatever", 5),
        ("我 们 是 人 1", 2),
        ("我们 1 2 3", 1),
        ("é ü 1 2", 1),
        ("é ü i o u", 1),
    ],
)
def test_ngrams_mostly_of_numbers_and_single_letters_are_not_looked_for(text, kept):
    assert row_hashes(Row(1, [text]), 4).size == kept


def test_ngrams_do_not_reach_from_one_string_into_the_next():
    assert row_hashes(Row(1, ["one two three", "four five six"]), 4).size == 0
    assert row_hashes(Row(1, ["one two three four", "\ud800 five six seven eight"]), 4).size >= 2


def test_a_saved_table_is_mapped_and_the_same(sets, tmp_path):
    built = NgramTable.build(sets)
    built.save(tmp_path / "table")
    built.save(tmp_path / "again")
    loaded = NgramTable.load(tmp_path / "table")
    assert isinstance(loaded.hashes, np.memmap)
    for name in ("hashes", "owners", "bitmap", "rows"):
        assert np.array_equal(getattr(built, name), getattr(loaded, name))
    assert (loaded.n, loaded.files, loaded.sets) == (built.n, built.files, built.sets)
    assert loaded.overlaps(hashes_of(LONG)) == built.overlaps(hashes_of(LONG)) != []
    for path in (tmp_path / "table").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_a_damaged_table_is_refused(sets, tmp_path):
    directory = tmp_path / "table"
    with pytest.raises(DataError, match="table: is not a table of n-grams that can be used"):
        NgramTable.load(directory)
    for name, content in (
        ("table.json", b"{}"),
        ("table.json", b'{"format": 99}'),
        ("hashes.npy", b"rubbish"),
        ("owners.npy", None),
        ("rows.npy", b""),
    ):
        NgramTable.build(sets).save(directory)
        (directory / name).unlink() if content is None else (directory / name).write_bytes(content)
        with pytest.raises(DataError, match="table: is not a table of n-grams that can be used"):
            NgramTable.load(directory)
    NgramTable.build(sets).save(directory)
    (directory / "hashes.npy").write_bytes((directory / "hashes.npy").read_bytes()[:-8])
    with pytest.raises(DataError, match="is not a table"):
        NgramTable.load(directory)
    NgramTable.build(sets).save(directory)
    np.save(directory / "hashes.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"hashes\.npy holds float64, expected uint64"):
        NgramTable.load(directory)


def test_sets_without_any_ngram_make_an_empty_table(tmp_path):
    (tmp_path / "a.txt").write_text("short\n")
    table = NgramTable.build(DecontaminateRules(sets={"a": str(tmp_path / "a.txt")}))
    assert table.sets == {"a": {"rows": 1, "compared": 0, "whole": 0, "ngrams": 0}}
    assert table.overlaps(hashes_of(LONG * 10)) == []
    table.save(tmp_path / "table")
    assert NgramTable.load(tmp_path / "table").overlaps(hashes_of(LONG * 10)) == []
