"""The last stage: who goes and why, where the rest goes, and what is counted on the way."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from puna.data.dedup.edges import PAIR
from puna.data.document_files import read_lines
from puna.data.numbers import document_number
from puna.data.stages.finish import DROPPED_FILE, FILES, REPORT_FILE, Finish
from puna.data.stages.lines import Clean, Lines
from puna.data.stages.pairs import write_pairs
from puna.data.stages.read import Read

TEXTS = {
    "a": {"1.jsonl": ["one", "two", " ", "four"], "held.jsonl": ["kept out"]},
    "b": {"1.jsonl": ["other", "four"]},
}
NAMES = (("a", ("1.jsonl", "held.jsonl")), ("b", ("1.jsonl",)))


def number(source: int, file: int, record: int, *, heldout: bool = False) -> int:
    return document_number(heldout=heldout, source=source, file=file, record=record)


@pytest.fixture
def found(wrote):
    """Makes a task that has found, for a reason, documents which go: `found(reason, {number: kept})`."""

    def make(reason: str, pairs: dict[int, int]) -> Any:
        rows = np.array(list(pairs.items()), dtype=PAIR)
        return wrote(f"{reason}-{sorted(pairs)}", lambda task: write_pairs(task, rows), reason=reason)

    return make


def finished(read: Read, *found: Any) -> Finish:
    task = Finish(work=read.work, cleaned=read, found=found, names=NAMES)
    task.run()
    assert task.failure() is None
    return task


def lines(task: Finish, file: str) -> list[dict[str, Any]]:
    return list(read_lines(task.checked(file)))


def test_documents_stay_in_their_split_and_in_order_without_their_numbers(read_texts):
    task = finished(read_texts(TEXTS)[0])
    assert [line["text"] for line in lines(task, FILES["train"])] == ["one", "two", "four"]
    (heldout,) = lines(task, FILES["heldout"])
    assert heldout == {"id": "held.jsonl#0", "text": "kept out", "origin": heldout["origin"]}
    assert (task.name, task.read, task.input_bytes) == ("a", task.cleaned, task.cleaned.input_bytes)


def test_a_duplicate_goes_and_says_where_the_one_that_stays_stands(read_texts, found):
    duplicates = {number(0, 0, 0): number(1, 0, 0), number(0, 0, 3): number(1, 0, 1), number(1, 0, 0): 0}
    held = {number(0, 1, 0, heldout=True): number(0, 0, 1)}
    task = finished(read_texts(TEXTS)[0], found("duplicate", duplicates | held))
    assert [line["text"] for line in lines(task, FILES["train"])] == ["two"]
    assert lines(task, FILES["heldout"]) == []
    dropped = {line["id"]: (line["reason"], line.get("detail")) for line in lines(task, DROPPED_FILE)}
    assert dropped == {
        "1.jsonl#0": ("duplicate", "b/1.jsonl"),
        "1.jsonl#2": ("empty", None),
        "1.jsonl#3": ("duplicate", "b/1.jsonl, record 2"),
        "held.jsonl#0": ("duplicate", "a/1.jsonl, record 2"),
    }
    assert not any("n" in line or "text" in line for line in lines(task, DROPPED_FILE))


def test_of_several_reasons_the_first_counts(read_texts, found):
    goes = number(0, 0, 1)
    first = found("near_duplicate", {goes: number(1, 0, 0)})
    second = found("contained", {goes: number(1, 0, 1), number(0, 0, 3): number(1, 0, 1)})
    for order, expected in (
        ((first, second), {"1.jsonl#1": "near_duplicate", "1.jsonl#3": "contained"}),
        ((second, first), {"1.jsonl#1": "contained", "1.jsonl#3": "contained"}),
    ):
        task = finished(read_texts(TEXTS)[0], *order)
        assert {
            line["id"]: line["reason"] for line in lines(task, DROPPED_FILE) if line["reason"] != "empty"
        } == expected  # fmt: skip


def test_each_task_of_a_source_looks_up_its_own_files_alone(read_texts, found):
    reads = read_texts(TEXTS, task_bytes=1)
    assert [[file.name for _, file in read.files_in] for read in reads] == [["1.jsonl"], ["held.jsonl"], ["1.jsonl"]]
    gone = found("duplicate", {number(1, 0, 1): number(0, 0, 3), number(0, 1, 0, heldout=True): number(0, 0, 0)})
    counts = [finished(read, gone).results()["steps"]["dedup"] for read in reads]
    assert [count["kept"]["documents"] for count in counts if "kept" in count] == [3, 1]
    assert [count.get("dropped") for count in counts] == [
        None, {"duplicate": {"documents": 1, "bytes": 8}}, {"duplicate": {"documents": 1, "bytes": 4}}
    ]  # fmt: skip


def test_figures_are_those_of_the_documents_that_stay(read_texts, found):
    texts = {"a": {"1.jsonl": ["Zürich", "two", "two"]}, "b": {"1.jsonl": ["x"]}}
    (read, _) = read_texts(texts, licence="CC0")
    results = finished(read, found("duplicate", {number(0, 0, 2): number(0, 0, 1)})).results()
    stay = {"documents": 2, "bytes": 7 + 3}
    assert results["train"] == stay
    assert "heldout" not in results
    assert results["languages"] == {"not told": stay}
    assert results["licences"] == {"CC0": stay}
    assert results["years"] == {"not told": stay}
    assert results["steps"] == {
        "read": {"kept": {"documents": 3, "bytes": 13}},
        "dedup": {"kept": stay, "dropped": {"duplicate": {"documents": 1, "bytes": 3}}},
    }
    (plain, _) = read_texts(texts)
    assert finished(plain).results()["licences"] == {"not stated": {"documents": 3, "bytes": 13}}


def test_text_of_what_goes_is_kept_where_the_recipe_asks_for_it(read_texts, found):
    (read, *_) = read_texts(TEXTS, keep_dropped=True)
    task = finished(read, found("duplicate", {number(0, 0, 1): number(1, 0, 0)}))
    assert {line["id"]: line.get("text") for line in lines(task, DROPPED_FILE)} == {
        "1.jsonl#1": "two", "1.jsonl#2": None
    }  # fmt: skip


def test_what_cleaning_dropped_and_reported_comes_along(read_texts):
    texts = {"a": {"1.jsonl": ["once\nagain\n" * 3, "again\nonce", " "]}, "b": {"1.jsonl": ["x"]}}
    (read, _) = read_texts(texts, clean=["lines"], partitions=2, rules={"lines": {"min_chars": 1}})
    parts = tuple(Lines(work=read.work, reads=(read,), partition=part) for part in range(2))
    clean = Clean(work=read.work, read=read, lines=parts)
    for task in (*parts, clean):
        task.run()
        assert task.failure() is None
    task = Finish(work=read.work, cleaned=clean, found=(), names=NAMES)
    task.run()
    assert task.read is read
    assert {line["id"]: line["reason"] for line in lines(task, DROPPED_FILE)} == {
        line["id"]: line["reason"]
        for before in (read, clean)
        for name in before.made("dropped-", ".jsonl.zst")
        for line in read_lines(before.checked(name))
    }
    assert len(lines(task, DROPPED_FILE)) > 1
    assert set(task.results()["steps"]) >= {"read", "lines"}


def test_reports_of_rules_are_handed_on_in_order(read_texts, tmp_path: Path):
    question = "a tyger ate seven lambs on monday and half as many more on each of the three days after"
    (tmp_path / "eval.jsonl").write_text(json.dumps({"question": question}) + "\n")
    (read, _) = read_texts(
        {"a": {"1.jsonl": [f"One. {question}", "clean", f"Two. {question}"]}, "b": {"1.jsonl": ["x"]}},
        clean=["decontaminate"], rules={"decontaminate": {"sets": {"quiz": str(tmp_path / "eval.jsonl")}}},
        chunk_bytes=1,
    )  # fmt: skip
    task = finished(read)
    assert [(line["id"], line["set"]) for line in lines(task, REPORT_FILE)] == [
        ("1.jsonl#0", "quiz"), ("1.jsonl#2", "quiz")
    ]  # fmt: skip
    assert [line["text"] for line in lines(task, FILES["train"])] == ["clean"]


def test_a_task_is_another_one_where_its_files_would_be(read_texts, found):
    (read, other, *_) = read_texts(TEXTS)
    (licensed, *_) = read_texts(TEXTS, licence="CC0")
    pairs = found("duplicate", {number(0, 0, 1): 0})
    tasks = [
        Finish(work=read.work, cleaned=cleaned, found=of, names=NAMES)
        for cleaned, of in ((read, ()), (other, ()), (licensed, ()), (read, (pairs,)))
    ]
    assert licensed.fingerprint == read.fingerprint, "the licence is for people, no document depends on it"
    assert len({task.directory for task in tasks}) == 4
