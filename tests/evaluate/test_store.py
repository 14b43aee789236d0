"""What was done is kept whatever ends the process, and nothing of another question is taken for it."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.core.errors import DataError
from puna.core.schema.evaluation import DocumentLine, ScoredText, read_documents
from puna.evaluate.store import Cost, Store

FINGERPRINT = {"task": "harness/hellaswag@0", "model": {"weights": "ab"}, "n": 6}
COST = Cost(seconds=1.5, requests=4, tokens_read=100)


def line(id: int) -> DocumentLine:
    option = ScoredText(continuation=f" {id}", logprob=-1 / (id + 3), tokens=1)
    return DocumentLine(id=str(id), kind="continue", context="é\u2028", options=[option], values={"acc": 1.0})


def ids(store: Store) -> list[str]:
    return sorted(store.read().lines)


def test_documents_of_all_processes_are_found_again_with_their_cost(tmp_path: Path) -> None:
    store = Store(tmp_path / "documents" / "a.jsonl", FINGERPRINT)
    store.append(0, [line(0), line(1)], COST)
    store.append(1, [line(2)], COST)
    store.append(0, [line(3)], COST)
    found = Store(store.path, FINGERPRINT).read()
    assert found.lines == {str(id): line(id) for id in range(4)}
    assert found.cost == Cost(seconds=4.5, requests=12, tokens_read=300)
    assert sorted(path.name for path in store.path.parent.iterdir()) == ["a.jsonl.part-0"]
    store.append(0, [line(4)], COST)
    assert ids(store) == ["0", "1", "2", "3", "4"]
    assert store.read().cost.requests == 16


def test_a_finished_task_is_one_file_in_the_given_order(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.jsonl", FINGERPRINT)
    store.append(0, [line(1)], COST)
    store.append(1, [line(0)], COST)
    store.finish([line(0), line(1)], COST)
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]
    assert list(read_documents(store.path)) == [line(0), line(1)]
    assert (ids(store), store.read().cost) == (["0", "1"], COST)


def test_another_question_finds_nothing_and_leaves_the_finished_file_until_it_is_done(tmp_path: Path) -> None:
    first = Store(tmp_path / "a.jsonl", FINGERPRINT)
    first.finish([line(0)], COST)
    other = Store(tmp_path / "a.jsonl", FINGERPRINT | {"n": 7})
    assert ids(other) == []
    other.append(0, [line(5)], COST)
    assert ids(other) == ["5"]
    assert ids(first) == ["0"]


def test_a_smaller_part_of_the_same_question_is_known_to_replace_more(tmp_path: Path) -> None:
    """By another limit or seed; not the same again, more, or the answers of another model."""
    path = tmp_path / "a.jsonl"
    assert Store(path, FINGERPRINT).lost(by=("n", "seed")) == 0
    Store(path, FINGERPRINT).finish([line(id) for id in range(6)], COST)
    changes = [({}, 0), ({"n": 7}, 0), ({"n": 5}, 6), ({"n": 5, "seed": 3}, 6), ({"n": 5, "model": "other"}, 0)]
    for change, lost in changes:
        assert Store(path, FINGERPRINT | change).lost(by=("n", "seed")) == lost
    path.write_text("torn")
    assert Store(path, FINGERPRINT | {"n": 5}).lost(by=("n", "seed")) == 0


@pytest.mark.parametrize("cost", [3, None, [1], {"seconds": 1.0}, {"seconds": "x", "requests": 1, "tokens_read": 1}])
def test_a_damaged_cost_is_one_sentence(tmp_path: Path, cost: object) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"schema": 1, "fingerprint": FINGERPRINT, "cost": cost}) + "\n")
    with pytest.raises(DataError, match=r"a\.jsonl: is damaged: its cost"):
        Store(path, FINGERPRINT).read()


def test_a_line_nested_too_deeply_counts_as_torn(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"schema": 1, "fingerprint": FINGERPRINT}) + "\n" + "[" * 100_000 + "\n")
    assert ids(Store(path, FINGERPRINT)) == []


def test_a_part_of_another_question_is_overwritten(tmp_path: Path) -> None:
    first, other = (Store(tmp_path / "a.jsonl", FINGERPRINT | {"n": n}) for n in (6, 7))
    first.append(0, [line(0)], COST)
    assert ids(other) == []
    other.append(0, [line(1)], COST)
    assert (ids(other), ids(first)) == (["1"], [])


@given(st.integers(min_value=0))
def test_a_part_that_is_torn_at_any_byte_keeps_its_whole_lines(
    tmp_path_factory: pytest.TempPathFactory, at: int
) -> None:
    store = Store(tmp_path_factory.mktemp("torn") / "a.jsonl", FINGERPRINT)
    for id in range(3):
        store.append(0, [line(id)], COST)
    part = store.path.with_name("a.jsonl.part-0")
    content = part.read_bytes()
    at %= len(content)
    part.write_bytes(content[:at])
    whole = content[:at].count(b'{"id"') - (b'{"id"' in content[:at].rpartition(b"\n")[2])
    assert ids(store) == [str(id) for id in range(whole)]
    store.append(0, [line(9)], COST)
    assert ids(store) == [*(str(id) for id in range(whole)), "9"]


def test_a_damaged_document_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.jsonl", FINGERPRINT)
    store.path.write_text(json.dumps({"schema": 1, "fingerprint": FINGERPRINT}) + '\n{"id": 3}\n')
    with pytest.raises(DataError, match=r"a\.jsonl: 'id' should be a valid string, got 3"):
        store.read()
