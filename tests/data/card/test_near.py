"""What the card says of groups of nearly equal documents."""

import json
from pathlib import Path
from typing import Any

import pytest

from puna.data.card.blocks import Table
from puna.data.card.near import near_blocks, near_groups, near_warnings

COUNTS = {"sizes": {"2": {"90": 4, "71": 1}, "3": {"88": 1}, "4": {"80": 2}, "98": {"0": 1}}, "stay": 3}
COUNTS["like"] = {"0": 80, "49": 2, "50": 3, "99": 5, "100": 9}  # type: ignore[assignment]


@pytest.fixture
def card() -> dict[str, Any]:
    return json.loads(Path(__file__).with_name("example_card.json").read_text())


def test_figures_are_summed_by_size_and_by_tenths():
    assert near_groups(COUNTS) == {
        "groups": 9,
        "documents": 5 * 2 + 3 + 2 * 4 + 98,
        "sizes": {"2": 5, "3 to 4": 3, "65 to 128": 1},
        "largest": 98,
        "largest_least": 0.0,
        "like": {"0.0": 80, "0.4": 2, "0.5": 3, "0.9": 5, "1.0": 9},
        "stay": 3,
    }
    assert near_groups({}) == {
        "groups": 0, "documents": 0, "sizes": {}, "largest": 0, "largest_least": None, "like": {}, "stay": 0,
    }  # fmt: skip


def test_the_largest_group_and_the_unlike_are_on_the_page_and_many_unlike_are_warned_of(card: dict[str, Any]):
    assert near_warnings(card) == []
    source = next(source for source in card["sources"] if source["near_groups"])
    source["near_groups"] = near_groups(COUNTS)
    table, sizes, likes = (block for block in near_blocks(card) if isinstance(block, Table))
    assert table.rows == [[source["name"], "9", "119", "98", "0.00", "82", "3"]]
    assert [row[1:] for row in sizes.rows] == [["2", "5"], ["3 to 4", "3"], ["65 to 128", "1"]]
    assert likes.rows[0] == [source["name"], "0.0 and more", "80"]
    (warning,) = near_warnings(card)
    assert warning.startswith(f"{source['name']}: 82 of 110 near duplicates are less than half like")
    card["dedup"]["near"]["least"] = 0.5
    assert near_warnings(card) == []


def test_nothing_is_said_where_nothing_was_looked_for(card: dict[str, Any]):
    for source in card["sources"]:
        source["near_groups"] = None
    assert (near_blocks(card), near_warnings(card)) == ([], [])
