from puna.data.build.counts import add, total


def test_leaves_add_up_and_tables_are_made_where_they_are_missing():
    counts: dict = {}
    add(counts, ["steps", "read", "documents"], 1)
    add(counts, ["steps", "read", "documents"], 2)
    add(counts, ["steps", "c4", "documents"], 1)
    add(counts, ["chunks"], 1)
    assert counts == {"steps": {"read": {"documents": 3}, "c4": {"documents": 1}}, "chunks": 1}


def test_the_sum_of_tables_has_all_leaves_and_changes_none_of_its_parts():
    first, second = {"a": {"x": 1}, "b": 2}, {"a": {"y": 3, "x": 4}, "c": {"z": 5}}
    assert total([first, second]) == {"a": {"x": 5, "y": 3}, "b": 2, "c": {"z": 5}}
    assert first == {"a": {"x": 1}, "b": 2}
    assert total([]) == {}
