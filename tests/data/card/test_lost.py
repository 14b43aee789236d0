"""What the card says of losses: figures, sentences, tables."""

import json
from pathlib import Path
from typing import Any

import pytest

from puna.config.data import Source
from puna.data.card.blocks import Table
from puna.data.card.lost import kinds_lost, lost_blocks, lost_of, lost_warnings


@pytest.fixture
def card() -> dict[str, Any]:
    return json.loads(Path(__file__).with_name("example_card.json").read_text())


def amount(documents: int, size: int = 0) -> dict[str, int]:
    return {"documents": documents, "bytes": size}


def test_damage_is_what_nobody_has_chosen():
    source = Source(path="x", include=["*"], format="jsonl", heldout_fraction=0.1)
    steps = {
        "read": {"kept": amount(5), "dropped": {"empty": amount(2), "rows.broken": amount(1), "unreadable": amount(1)}},
        "c4": {"kept": amount(3), "dropped": {"rule.failed": amount(1, 7), "c4.few_sentences": amount(1, 9)}},
    }
    parts = {"x.hole": {"documents": 1, "parts": 2, "bytes": 3}}
    lost = lost_of(source, {"steps": steps, "lost": parts})
    assert lost["damaged"] == amount(3, 7)
    assert lost["parts"] == parts
    assert lost["files"]["read"] == 0
    assert kinds_lost(lost) == {"x.hole"}


def test_files_and_shares_are_told_in_sentences_whatever_a_file_is_called(card: dict[str, Any]):
    assert lost_warnings(card) == [
        "common_crawl: 3 of 31 files gave no document (`no_record` 1, `unreadable` 2): `a <b>.warc.gz`, "
        "`b\ufffdc.warc.gz`, `empty.warc.gz`.",
        "common_crawl: 1 of 31 files could be read only in part (`unreadable` 1): `cut.warc.gz`.",
        "common_crawl has lost 12.9 % of its files without anybody choosing it, more than data.most_lost allows "
        "(5.0 %): see Lost on the way.",
    ]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"damaged": amount(961)}, "10.0 % of its records"),
        (
            {"parts": {"x.y": {"documents": 900, "parts": 900, "bytes": 0}}},
            "10.0 % of its documents a part of unknown size (`x.y`)",
        ),
        ({"parts": {"x.y": {"documents": 0, "parts": 1, "bytes": 5_555_556}}}, "10.0 % of its text"),
    ],
)
def test_each_share_has_its_own_words_and_the_threshold_of_the_recipe(card: dict[str, Any], change: dict, what: str):
    source = card["sources"][0]
    source["lost"] = card["sources"][1]["lost"] | change
    assert lost_warnings(card) == [
        f"common_crawl has lost {what} without anybody choosing it, more than data.most_lost allows (5.0 %): see Lost "
        "on the way."
    ]
    card["build"]["most_lost"] = 0.11
    assert lost_warnings(card) == []


def test_a_part_counts_by_its_bytes_where_they_are_known(card: dict[str, Any]):
    source = card["sources"][0]
    source["lost"] = card["sources"][1]["lost"] | {
        "parts": {"x.y": {"documents": 8000, "parts": 9000, "bytes": 90_000}}
    }
    assert lost_warnings(card) == []


def test_a_page_names_the_first_files_and_counts_the_others(card: dict[str, Any]):
    nothing = card["sources"][0]["lost"]["files"]["nothing"]
    nothing["reasons"] = {"no_record": 500}
    nothing["named"] = {f"{number:03}": {"no_record": 1} for number in range(100)}
    overall, parts, files = (block for block in lost_blocks(card) if isinstance(block, Table))
    assert overall.rows[0] == [
        "common_crawl", "31", "49.6 MiB", "9,604", "4", "6,500", "3,100", "32.3 %", "28.0 %",
    ]  # fmt: skip
    assert parts.rows == [["common_crawl", "warc.figure", "A picture.", "200", "310", ""]]
    assert [row[1] for row in files.rows] == [f"{number:03}" for number in range(20)] + ["480 more", "cut.warc.gz"]
    assert "500 of 31 files" in lost_warnings(card)[0]
    assert "`004` and 495 more." in lost_warnings(card)[0]
