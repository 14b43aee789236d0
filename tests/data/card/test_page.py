"""What the pages say: every fact of the card is in a table, in words that can be checked."""

import json
from pathlib import Path
from typing import Any

import pytest

from puna.data.card.blocks import Block, Code, Flow, Points, Table
from puna.data.card.page import figures, sections


@pytest.fixture
def card() -> dict[str, Any]:
    return json.loads(Path(__file__).with_name("example_card.json").read_text())


def _blocks(card: dict[str, Any], name: str) -> list[Block]:
    (section,) = (section for section in sections(card) if section.name == name)
    return section.blocks


def _table(card: dict[str, Any], name: str, number: int = 0) -> Table:
    return [block for block in _blocks(card, name) if isinstance(block, Table)][number]


def test_the_build_in_figures(card: dict[str, Any]):
    assert figures(card) == [
        ("3,638", "documents from 3 sources"),
        ("29.6 MiB", "of text"),
        ("7.75M", "tokens"),
        ("64.2 %", "dropped: 6,528 of 10,166 records"),
    ]


def test_tables_are_rectangles_and_names_for_links_are_given_once(card: dict[str, Any]):
    names = [section.name for section in sections(card)]
    assert len(set(names)) == len(names)
    tables = [block for section in sections(card) for block in section.blocks if isinstance(block, Table)]
    assert len(tables) > 10
    for table in tables:
        assert {len(row) for row in table.rows} == {len(table.header)}
        assert 0 < table.labels <= len(table.header)


def test_warnings_come_first_and_only_where_there_are_any(card: dict[str, Any]):
    first = sections(card)[0]
    assert first.name == "warnings"
    assert isinstance(first.blocks[0], Points)
    assert len(first.blocks[0].sentences) == 9
    for source in card["sources"]:
        source |= {"licence": "CC0", "built": None, "epochs": 1.0, "evaluation_sets": {}}
        source["dropped"], source["lost"] = {}, card["sources"][2]["lost"]
    assert sections(card)[0].name == "use"


def test_shares_and_epochs_stand_beside_the_papers_where_it_has_the_source(card: dict[str, Any]):
    table = _table(card, "mixture")
    assert table.header[-2:] == ["LLaMA: share", "LLaMA: epochs"]
    assert table.rows[1] == ["books", "5.9 %", "6.0 %", "4.85M", "1.39", "1.41", "2", "4.5 %", "2.23"]
    assert table.rows[2][-3:] == ["any", "", ""]
    for source in card["sources"]:
        source["paper"] = None
    assert _table(card, "mixture").header[-1] == "epochs at most"


@pytest.mark.parametrize(("epochs", "cell"), [(0.0, "0.00"), (0.0002, "under 0.01"), (0.006, "0.01"), (1.5, "1.50")])
def test_a_source_that_is_hardly_read_is_not_said_to_be_unread(card: dict[str, Any], epochs: float, cell: str):
    card["sources"][0]["epochs"] = epochs
    assert _table(card, "mixture").rows[0][4] == cell


def test_a_mixture_without_an_order_says_so(card: dict[str, Any]):
    card["sources"][0]["built"] = None
    row = _table(card, "mixture").rows[0]
    assert (row[2], row[5]) == ("none", "none")


def test_the_flow_begins_with_all_records_and_ends_with_the_documents(card: dict[str, Any]):
    flow = _blocks(card, "steps")[0]
    assert isinstance(flow, Flow)
    assert flow.caption == "common_crawl: 9,604 records, 3,100 documents (3,070 to train on, 30 held out)"
    assert flow.steps[0].left + flow.steps[0].lost == pytest.approx(1)
    for before, after in zip(flow.steps, flow.steps[1:], strict=False):
        assert after.left + after.lost == pytest.approx(before.left)
    assert flow.steps[-1].left == pytest.approx(3100 / 9604)
    lines = flow.steps[1]
    assert lines.name == "lines"
    assert lines.figures == ["9,000", "2,000", "7,000", "390.6 KiB", "-18.7 MiB", "28.6 MiB"]


def test_every_dropped_document_is_in_the_table_of_reasons_with_its_meaning(card: dict[str, Any]):
    table = _table(card, "dropped")
    counted = sum(int(row[4].replace(",", "")) for row in table.rows)
    assert counted == sum(sum(source["dropped"].values()) for source in card["sources"])
    assert all(row[3].endswith(".") for row in table.rows)
    for source in card["sources"]:
        for step in source["steps"]:
            step["dropped"] = {}
    assert _blocks(card, "dropped") == ["Nothing was dropped."]


def test_duplicates_are_told_by_kind_with_the_similarity_that_is_found_half_of_the_time(card: dict[str, Any]):
    assert _table(card, "duplicates").rows == [
        ["common_crawl", "150", "240", "not looked for"],
        ["books", "0", "not looked for", "2"],
        ["code", "0", "not looked for", "not looked for"],
    ]
    sentences = str(_blocks(card, "duplicates")[1])
    # 1 - (1 - s^8)^14 = 1/2 at s = 0.685.
    assert abs(1 - (1 - 0.685**8) ** 14 - 0.5) < 0.01
    assert "half of the pairs with a Jaccard similarity of 0.68" in sentences
    assert "90.0 % of its 5-grams of words, estimated from one in 64" in sentences
    card["dedup"] = {"exact": "none", "near": {"sources": [], "least": 0.0}, "contained": {"sources": []}}
    assert str(_blocks(card, "duplicates")[1]).startswith("Equal texts were not looked for. Of equal ones")


def test_overlap_with_evaluation_sets_is_told_by_set(card: dict[str, Any]):
    assert _table(card, "evaluation-sets").rows == [
        ["common_crawl", "gsm8k", "10", "7", "1,319", "0", "1,319"],
        ["common_crawl", "mbpp", "0", "0", "480", "0", "500"],
    ]
    card["sources"][0]["evaluation_sets"] = None
    assert _blocks(card, "evaluation-sets") == ["No source was compared with evaluation sets."]


def test_every_file_that_was_compared_is_told_once_with_its_hash(card: dict[str, Any]):
    for source in card["sources"][:2]:
        for counts in (source["evaluation_sets"] or {}).values():
            counts["sha256"] = {"a.jsonl": "0" * 64, "b.jsonl": "1" * 64}
    names = [*card["sources"][0]["evaluation_sets"]]
    rows = _table(card, "evaluation-sets", 1).rows
    assert rows[:2] == [[names[0], "a.jsonl", "0" * 64], [names[0], "b.jsonl", "1" * 64]]
    assert len(rows) == len({(name, file) for name, file, _ in rows})


def test_the_most_frequent_languages_are_named_and_the_others_counted(card: dict[str, Any]):
    rows = [row for row in _table(card, "languages").rows if row[0] == "code"]
    assert [row[1] for row in rows] == [*(f"language {n}" for n in range(8)), "6 others"]
    everything = sum(part["documents"] for part in card["sources"][2]["languages"]["named"].values())
    assert sum(int(row[2]) for row in rows) == everything


def test_years_are_told_from_the_first_to_the_last(card: dict[str, Any]):
    table = _table(card, "languages", 2)
    assert table.rows == [
        ["common_crawl", "2023", "2024", "2024", "2,100 of 3,100"],
        ["books", "", "", "", "none of 38"],
        ["code", "1999", "2016", "2016", "500 of 500"],
    ]


def test_rules_stand_in_their_order_with_their_thresholds(card: dict[str, Any]):
    orders = _table(card, "rules")
    assert orders.rows[0] == ["common_crawl", "lines → language → c4 → pii → decontaminate"]
    assert orders.rows[1] == ["books", "none"]
    lines = _table(card, "rules", 1)
    assert lines.caption.startswith("lines: CCNet's removal of lines")
    assert lines.rows[0][:2] == ["min_chars", "300"]
    assert isinstance(lines.rows[0][0], Code)


def test_provenance_says_where_uncommitted_changes_were(card: dict[str, Any]):
    assert _table(card, "provenance").rows[0] == ["Puna", f"0.1.0, commit {'cd' * 20} with uncommitted changes"]
    card["build"]["commit"] = None
    assert _table(card, "provenance").rows[0] == ["Puna", "0.1.0"]
