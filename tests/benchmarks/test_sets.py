"""Real files against the manifest: the same hash from every place that is here, and facts of the papers."""

import os
from collections import Counter
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest

from puna.benchmarks.files import Split, keep
from puna.benchmarks.manifest import manifest
from puna.benchmarks.places import locate
from puna.benchmarks.readers import read_rows

Open = Callable[[str, str], Split]
SOME_OF_OLMES = ("olmes_codex_humaneval", "olmes_jeopardy")
"""Of the requests of OLMES, which have a gigabyte; the others are opened by the tests of their tasks."""
HERE = [
    (entry.name, split.name)
    for entry in manifest().values()
    for split in entry.splits.values()
    if split.sha256 and (not entry.name.startswith("olmes_") or entry.name in SOME_OF_OLMES)
]


@pytest.mark.parametrize(("name", "split"), HERE)
def test_every_place_that_is_here_gives_the_rows_of_the_manifest(benchmark: Open, name: str, split: str) -> None:
    found = benchmark(name, split)
    named = os.environ.get("PUNA_BENCHMARKS")
    for place in found.entry.places:
        if located := locate(place, Path(named) if named else None):
            kept = keep(found.entry, place, located)
            assert (kept.n, kept.sha256) == (found.entry.rows, found.entry.sha256)


@pytest.mark.parametrize(
    ("name", "split", "rows"),
    [
        ("hellaswag", "validation", 10042), ("piqa", "validation", 1838), ("social_iqa", "validation", 1954),
        ("boolq", "validation", 3270), ("winogrande", "validation", 1267), ("arc_easy", "test", 2376),
        ("arc_challenge", "test", 1172), ("openbookqa", "test", 500), ("mmlu", "test", 14042),
        ("mmlu", "validation", 1531), ("mmlu", "dev", 285), ("nq_open", "validation", 3610), ("math", "test", 5000),
        ("gsm8k", "test", 1319), ("gsm8k", "train", 7473), ("humaneval", "test", 164), ("mbpp", "test", 500),
        ("crows_pairs", "test", 1508), ("winogender", "test", 720), ("truthful_qa", "validation", 817),
        ("lambada_openai", "test", 5153), ("foundry_winograd_wsc", "test", 273), ("trivia_qa", "validation", 17944),
        ("anli", "test_r3", 1200), ("wic", "validation", 638), ("race_high", "test", 3498),
    ],
)  # fmt: skip
def test_sets_have_as_many_rows_as_their_papers_say(name: str, split: str, rows: int) -> None:
    assert manifest()[name].splits[split].rows == rows


def test_mmlu_has_57_subjects_in_alphabetical_order_with_five_solved_questions_each(benchmark: Open) -> None:
    subjects = Counter(row["subject"] for row in benchmark("mmlu", "dev").rows)
    assert list(subjects) == sorted(subjects)
    assert set(subjects.values()) == {5}
    assert len(subjects) == 57
    asked = [row["subject"] for row in benchmark("mmlu", "test").rows]
    assert list(dict.fromkeys(asked)) == list(subjects)


def test_the_nine_categories_of_crows_pairs_have_the_sizes_by_which_its_mean_is_weighted(benchmark: Open) -> None:
    sizes = Counter(row["bias_type"] for row in benchmark("crows_pairs", "test").rows)
    assert sizes == {
        "race-color": 516, "gender": 262, "socioeconomic": 172, "nationality": 159, "religion": 105, "age": 87,
        "sexual-orientation": 84, "physical-appearance": 63, "disability": 60,
    }  # fmt: skip


def test_winogender_has_each_sentence_for_three_pronouns_and_statistics_for_each_occupation(benchmark: Open) -> None:
    rows = list(benchmark("winogender", "test").rows)
    assert Counter(row["gender"] for row in rows) == {"male": 240, "female": 240, "neutral": 240}
    assert Counter(row["label"] for row in rows) == {0: 360, 1: 360}
    occupations = {row["occupation"] for row in benchmark("winogender_occupations", "statistics").rows}
    assert {row["occupation"] for row in rows} == occupations
    assert len(occupations) == 60


def test_math_has_the_sizes_of_its_seven_subjects(benchmark: Open) -> None:
    sizes = Counter(row["type"] for row in benchmark("math", "test").rows)
    assert sizes == {
        "Algebra": 1187, "Counting & Probability": 474, "Geometry": 479, "Intermediate Algebra": 903,
        "Number Theory": 540, "Prealgebra": 871, "Precalculus": 546,
    }  # fmt: skip


def test_boolq_of_both_editions_has_the_same_questions_and_one_has_titles(benchmark: Open) -> None:
    with_titles = list(benchmark("boolq", "validation").rows)
    without = list(benchmark("boolq_original", "validation").rows)
    for one, other in zip(with_titles, without, strict=True):
        assert one["question"] == other["question"]
        assert one["label"] == other["answer"]
        assert one["passage"].endswith(f" -- {other['passage']}")


def test_the_files_of_llm_foundry_ask_the_questions_of_the_sets(benchmark: Open) -> None:
    for name in ("arc_easy", "arc_challenge"):
        for one, other in zip(benchmark(f"foundry_{name}", "test").rows, benchmark(name, "test").rows, strict=True):
            assert one["query"] == f"Question: {other['question']}"
    rows = zip(benchmark("foundry_openbook_qa", "test").rows, benchmark("openbookqa", "test").rows, strict=True)
    for one, other in rows:
        assert one["query"] == other["question_stem"]
        assert one["choices"] == other["choices"]["text"]
        assert "ABCD"[one["gold"]] == other["answerKey"]


@pytest.mark.parametrize(("name", "moved"), [("arc_easy", 71), ("arc_challenge", 19)])
def test_llm_foundry_takes_the_next_option_for_the_right_one_where_options_were_numbered(
    benchmark: Open, real: Callable[[str], Path], name: str, moved: int
) -> None:
    title = {"arc_easy": "Easy", "arc_challenge": "Challenge"}[name]
    original = read_rows(real(f"eval/arc_original/ARC-{title}-Test.jsonl.gz"))
    found = Counter(
        (row["gold"] - int(other["answerKey"]), other["question"]["choices"][0]["label"])
        for row, other in zip(benchmark(f"foundry_{name}", "test").rows, original, strict=True)
        if other["answerKey"].isdecimal() and len(other["question"]["choices"]) == 4
    )
    assert found[0, "1"] == moved
    assert f"in {moved}." in manifest()[f"foundry_{name}"].note


def test_rte_of_both_benchmarks_differs_in_quotation_marks_alone(benchmark: Open) -> None:
    pairs = [*zip(benchmark("rte", "validation").rows, benchmark("superglue_rte", "validation").rows, strict=True)]
    assert sum(one != other for one, other in pairs) == 6
    for one, other in pairs:
        for name in ("premise", "hypothesis"):
            assert one[name].replace('"', "") == other[name].replace('"', "")


def test_every_answer_of_a_choice_is_one_of_its_options(benchmark: Open) -> None:
    for name, split in (("arc_easy", "test"), ("arc_challenge", "validation"), ("openbookqa", "validation")):
        for row in benchmark(name, split).rows:
            assert row["answerKey"] in row["choices"]["label"]
            assert len(row["choices"]["label"]) == len(row["choices"]["text"])


def test_spans_of_wsc_stand_in_its_texts(benchmark: Open) -> None:
    for row in benchmark("wsc", "validation").rows:
        assert row["span1_text"] in row["text"]
        assert row["span2_text"] in row["text"]


def test_the_splits_of_mbpp_have_no_problem_in_common(benchmark: Open) -> None:
    numbers = [[row["task_id"] for row in benchmark("mbpp", name).rows] for name in manifest()["mbpp"].splits]
    assert sorted(chain(*numbers)) == [*range(1, 975)]
