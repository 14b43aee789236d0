import re

import pytest

from puna.benchmarks.manifest import find_entry, find_set, manifest, parse
from puna.benchmarks.shapes import SHAPES
from puna.core.errors import EvaluateError

SOURCES = (
    "boolq", "piqa", "social_iqa", "hellaswag", "winogrande", "arc_easy", "arc_challenge", "openbookqa", "nq_open",
    "trivia_qa", "race_middle", "race_high", "math", "gsm8k", "humaneval", "mbpp", "mmlu", "real_toxicity_prompts",
    "crows_pairs", "winogender", "truthful_qa", "anli", "cb", "record", "rte", "wic", "wsc", "copa", "lambada_openai",
    "jeopardy", "foundry_winograd_wsc",
)  # fmt: skip


def test_every_benchmark_of_the_papers_is_there() -> None:
    assert set(SOURCES) <= set(manifest())


def test_every_entry_says_what_a_user_must_know() -> None:
    for entry in manifest().values():
        assert re.fullmatch(r"[a-z0-9_]+", entry.name)
        assert entry.title
        assert entry.citation
        assert entry.licence
        assert entry.splits
        for split in entry.splits.values():
            assert split.places
            assert split.sha256 is None or (re.fullmatch(r"[0-9a-f]{64}", split.sha256) and split.rows)


def test_every_shape_is_made_by_something_and_all_are_used() -> None:
    used = {place.shape for entry in manifest().values() for split in entry.splits.values() for place in split.places}
    assert used - {""} == set(SHAPES)


def test_addresses_of_the_web_are_encrypted_and_name_a_commit() -> None:
    for entry in manifest().values():
        for split in entry.splits.values():
            for place in split.places:
                assert place.kind != "url" or re.match(r"https://[^/]+/[^/]+/[^/]+/[0-9a-f]{40}/", place.what)


def test_files_of_the_hub_are_given_by_a_pattern() -> None:
    for entry in manifest().values():
        for split in entry.splits.values():
            for place in split.places:
                assert bool(place.files) == (place.kind == "hub")


def test_a_name_that_is_almost_right_is_suggested() -> None:
    with pytest.raises(EvaluateError, match="did you mean hellaswag") as error:
        find_set("helaswag")
    assert "'helaswag' is not a benchmark" in str(error.value)


def test_a_split_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(EvaluateError, match=r"arc_easy: has no split 'dev'; it has test, validation, train"):
        find_entry("arc_easy", "dev")


def test_a_split_without_a_hash_says_so() -> None:
    table = {"title": "T", "citation": "C", "licence": "MIT", "splits": {"test": {"sources": [{"file": "x.jsonl"}]}}}
    (entry,) = parse({"mine": table})
    assert entry.splits["test"].sha256 is None
    assert entry.splits["test"].places[0].kind == "file"
    assert entry.splits["test"].set is entry
