"""Warnings and what a card does not know: each is there when it holds and only then."""

import json
from pathlib import Path
from typing import Any

import pytest

from puna.data.card.notes import unknowns, warnings


@pytest.fixture
def card() -> dict[str, Any]:
    return json.loads(Path(__file__).with_name("example_card.json").read_text())


@pytest.fixture
def quiet(card: dict[str, Any]) -> dict[str, Any]:
    """The example with nothing to be warned of."""
    for source in card["sources"]:
        source["licence"] = "CC0"
        source["built"]["epochs"] = 4.0
        source["max_epochs"] = 4.0
        source["dropped"].pop("reader.failed", None)
        source["lost"] = card["sources"][2]["lost"]
        source["evaluation_sets"] = {"gsm8k": {"documents": 0, "rows": 0, "of": 8, "compared": 3, "whole": 1}}
    return card


def test_a_build_with_nothing_to_be_warned_of_has_no_warning(quiet: dict[str, Any]):
    assert warnings(quiet) == []


def test_text_that_is_repeated_too_often_is_warned_of(quiet: dict[str, Any]):
    quiet["sources"][2]["built"]["epochs"] = 4.6
    quiet["sources"][2]["max_epochs"] = None
    (warning,) = warnings(quiet)
    assert warning.startswith("code is repeated 4.6 times; beyond 4 times")


def test_more_epochs_than_the_recipe_allows_are_warned_of(quiet: dict[str, Any]):
    quiet["sources"][1]["max_epochs"] = 2.0
    (warning,) = warnings(quiet)
    assert warning == "books would be read 4.00 times, but the recipe allows 2: no run can start."


def test_a_source_has_one_warning_of_its_epochs_and_thousands_are_parted(quiet: dict[str, Any]):
    quiet["sources"][1]["built"]["epochs"] = 1234567.8
    quiet["sources"][1]["max_epochs"] = 2000.0
    (warning,) = warnings(quiet)
    assert warning == "books would be read 1,234,567.80 times, but the recipe allows 2,000: no run can start."
    quiet["sources"][1]["max_epochs"] = None
    (warning,) = warnings(quiet)
    assert warning.startswith("books is repeated 1,234,567.8 times; beyond 4 times")


def test_without_an_order_the_plan_is_judged_and_the_refusal_told(quiet: dict[str, Any]):
    quiet["run"]["refused"] = "mixture.code is 0"
    for source in quiet["sources"]:
        source["built"], source["epochs"] = None, 1.0
    quiet["sources"][0]["epochs"] = 4.5
    quiet["sources"][0]["max_epochs"] = None
    first, second = warnings(quiet)
    assert first == "No run with this mixture can start: mixture.code is 0."
    assert "common_crawl is repeated 4.5 times" in second


def test_documents_whose_licence_nobody_states_are_warned_of(quiet: dict[str, Any]):
    quiet["sources"][2]["licence"] = ""
    (warning,) = warnings(quiet)
    assert warning == "code has 100 documents whose licence nobody has stated."


def test_a_defect_of_a_reader_is_warned_of(quiet: dict[str, Any]):
    quiet["sources"][0]["dropped"]["reader.failed"] = 2
    (warning,) = warnings(quiet)
    assert warning.startswith("common_crawl lost 2 records to a defect of the reader (`reader.failed`)")


def test_sources_that_were_not_compared_with_evaluation_sets_are_warned_of(quiet: dict[str, Any]):
    quiet["sources"][1]["evaluation_sets"] = None
    assert warnings(quiet) == ["books was not compared with evaluation sets."]
    quiet["sources"][0]["evaluation_sets"] = None
    assert warnings(quiet) == ["common_crawl and books were not compared with evaluation sets."]
    quiet["sources"][2]["evaluation_sets"] = None
    (warning,) = warnings(quiet)
    assert warning.startswith("No source was compared with evaluation sets")


def test_a_set_of_which_few_rows_were_compared_is_warned_of(quiet: dict[str, Any]):
    quiet["sources"][0]["evaluation_sets"] = {
        "nq": {"documents": 0, "rows": 0, "of": 3610, "compared": 190, "whole": 9}
    }
    (warning,) = warnings(quiet)
    assert warning.startswith("Of the evaluation set nq, only 199 of 3,610 rows are long enough to be compared")


def test_overlaps_that_stay_are_warned_of(quiet: dict[str, Any]):
    (action,) = (row for row in quiet["rules"]["decontaminate"]["thresholds"] if row["name"] == "action")
    action["value"] = "report"
    assert warnings(quiet) == []
    quiet["sources"][0]["evaluation_sets"]["gsm8k"]["documents"] = 1
    (warning,) = warnings(quiet)
    assert "were only reported and are in the data" in warning
    action["value"] = "drop"
    assert warnings(quiet) == []


def _about(card: dict[str, Any], subject: str) -> str:
    (sentence,) = (sentence for sentence in unknowns(card) if sentence.startswith(subject + ":"))
    return sentence


def test_what_is_masked_and_where_nothing_is_masked_is_told(card: dict[str, Any]):
    assert _about(card, "Personal data") == (
        "Personal data: in common_crawl, what looks like email and ip was masked by patterns; nothing else was. "
        "In books and code nothing was masked."
    )
    card["sources"][0]["clean"].remove("pii")
    assert "nobody looked for it" in _about(card, "Personal data")


def test_a_list_of_bad_words_is_told_where_there_is_one(card: dict[str, Any]):
    assert "no step has looked" in _about(card, "Offence and harm")
    (words,) = (row for row in card["rules"]["c4"]["thresholds"] if row["name"] == "bad_words")
    words["value"] = "words.txt"
    assert "in common_crawl, pages with words from a list" in _about(card, "Offence and harm")


def test_sources_in_which_near_duplicates_may_stand_are_told(card: dict[str, Any]):
    assert _about(card, "Near duplicates").startswith("Near duplicates: code was not searched")
    card["sources"][2]["duplicates"]["near_duplicate"] = {"documents": 0, "bytes": 0}
    assert "some pairs were missed" in _about(card, "Near duplicates")


def test_what_is_not_known_of_documents_is_counted(card: dict[str, Any]):
    assert _about(card, "Language").startswith("Language: known of every document")
    assert _about(card, "Time of writing").startswith("Time of writing: not known of 1,038 of 3,638 documents")
    for source in card["sources"]:
        source["years"]["unknown"]["documents"] = sum(part["documents"] for part in source["splits"].values())
    assert _about(card, "Time of writing").startswith("Time of writing: not known of all documents")
