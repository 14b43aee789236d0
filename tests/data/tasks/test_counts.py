from puna.data.document import Document
from puna.data.tasks.counts import add_text, add_verdict, total


def test_a_document_adds_one_and_its_bytes():
    counts = {"steps": {"read": {"kept": {"documents": 1, "bytes": 5}}}}
    add_text(counts, ["steps", "read", "kept"], 7)
    add_text(counts, ["years", "2024"], 7)
    assert counts == {
        "steps": {"read": {"kept": {"documents": 2, "bytes": 12}}},
        "years": {"2024": {"documents": 1, "bytes": 7}},
    }


def test_the_sum_of_tables_has_all_leaves_and_changes_none_of_its_parts():
    first, second = {"a": {"x": 1}, "b": 2}, {"a": {"y": 3, "x": 4}, "c": {"z": 5}}
    assert total([first, second]) == {"a": {"x": 5, "y": 3}, "b": 2, "c": {"z": 5}}
    assert first == {"a": {"x": 1}, "b": 2}
    assert total([]) == {}


def test_bytes_are_those_of_utf8():
    counts: dict = {}
    add_verdict(counts, "read", Document("web", "a", "é", "o"))
    assert counts == {"steps": {"read": {"kept": {"documents": 1, "bytes": 2}}}}
