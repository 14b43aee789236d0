"""The figures of a source in the order of a card: nothing is lost and nothing is counted twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.config.data import Source
from puna.config.rules import DedupConfig
from puna.data.card.steps import dropped_documents, duplicates, largest, steps_of, years

SOURCE = Source.model_validate(
    {"path": "x", "include": ["*"], "heldout_fraction": 0.1, "clean": ["language", "c4", "decontaminate"]}
)


def figures(documents: int, size: int) -> dict[str, int]:
    return {"documents": documents, "bytes": size}


COUNTS = {
    "steps": {
        # In the order in which a first task without any document for `c4` has met them.
        "read": {"kept": figures(10, 1000), "dropped": {"empty": figures(2, 0), "binary": figures(3, 0)}},
        "dedup": {"kept": figures(5, 400), "dropped": {"duplicate": figures(1, 100)}},
        "language": {"kept": figures(7, 700), "dropped": {"language.other": figures(3, 300)}},
        "c4": {"kept": figures(6, 500), "dropped": {"empty": figures(1, 150)}},
    }
}


def test_steps_are_in_the_order_in_which_they_were_applied_also_those_that_met_nothing():
    steps = steps_of(SOURCE, COUNTS)
    assert [step["step"] for step in steps] == ["read", "language", "c4", "decontaminate", "dedup"]
    assert steps[3]["out"] == figures(0, 0)


def test_documents_in_are_those_that_stay_and_those_that_go():
    read, language, c4, *_ = steps_of(SOURCE, COUNTS)
    assert read["in"] == figures(15, 1000)
    assert (language["in"], language["lost"], language["out"]) == (figures(10, 1000), figures(3, 300), figures(7, 700))
    assert c4["in"] == figures(7, 700)
    assert c4["in"]["bytes"] - c4["lost"]["bytes"] - c4["out"]["bytes"] == 50


def test_reasons_of_a_step_begin_with_the_most_frequent():
    assert list(steps_of(SOURCE, COUNTS)[0]["dropped"]) == ["binary", "empty"]


def test_dropped_documents_are_counted_over_all_steps():
    assert dropped_documents(COUNTS) == {"binary": 3, "empty": 3, "language.other": 3, "duplicate": 1}
    assert dropped_documents({}) == {}


def test_a_kind_of_duplicates_that_was_not_looked_for_is_not_a_kind_of_which_none_were_found():
    dedup = DedupConfig.model_validate({"near": {"sources": ["web"]}, "exact": "within"})
    none = figures(0, 0)
    assert duplicates("web", dedup, COUNTS) == {
        "duplicate": figures(1, 100),
        "near_duplicate": none,
        "contained": None,
    }
    assert duplicates("books", DedupConfig(exact="none"), {}) == {
        "duplicate": None,
        "near_duplicate": None,
        "contained": None,
    }


@given(st.dictionaries(st.text(), st.tuples(st.integers(1, 99), st.integers(0, 99)), max_size=200))
def test_no_name_is_forgotten_and_the_most_frequent_are_told(table: dict[str, tuple[int, int]]):
    counts = {name: figures(*pair) for name, pair in table.items()}
    told = largest(counts, "not told")
    parts = [*told["named"].values(), told["others"], told["unknown"]]
    for key in ("documents", "bytes"):
        assert sum(part[key] for part in parts) == sum(part[key] for part in counts.values())
    assert len(told["named"]) + told["others"]["names"] + ("not told" in counts) == len(counts)
    assert len(told["named"]) <= 100
    assert "not told" not in told["named"]
    if told["others"]["names"]:
        rest = [part["documents"] for name, part in counts.items() if name not in told["named"] and name != "not told"]
        assert max(rest) <= min(part["documents"] for part in told["named"].values())


@pytest.mark.parametrize("odd", ["", "20", "20x4", "\uff12\uff10\uff12\uff14", "not told", "20244"])
def test_what_is_not_a_year_is_an_unknown_year(odd: str):
    told = years({"2024": figures(1, 10), odd: figures(2, 20), "1999": figures(4, 40)})
    assert list(told["named"]) == ["1999", "2024"]
    assert told["unknown"] == figures(2, 20)
