"""bench/tuned_model.py judges answers as it says and asks as its recipe does, about rows that are not learned."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from scripts import script_module

bench = script_module("bench/tuned_model.py")
RECIPE = tomllib.loads(bench.RECIPE.read_text(encoding="utf-8"))
CHOICE = {"options": ["A bee.", "a cow"], "answer": "A bee."}


@pytest.mark.parametrize(
    ("answer", "form", "right"),
    [
        ("A bee.", True, True), ("a bee", True, True), ("- a cow", True, False), ("A bee. It hums", False, False),
        ("", False, False),
    ],
)  # fmt: skip
def test_an_option_alone_is_an_answer_case_and_punctuation_at_its_ends_aside(answer: str, form: bool, right: bool):
    assert bench.is_an_option(CHOICE, answer) is form
    assert bench.is_the_option(CHOICE, answer) is right


def test_a_result_is_the_number_at_the_end_after_four_marks():
    found = [
        bench.result(text) for text in ("1 + 1 = 2\n#### 2", "#### 1,024.", "#### $3.50", "2", "#### 2 eggs", "####")
    ]
    assert found == ["2", "1024", "3.50", None, None, None]


def test_questions_are_written_by_the_patterns_that_the_recipe_learns_from():
    learned = {
        pattern["input"]
        for source in RECIPE["data"]["sources"].values()
        for task in source["tasks"].values()
        for pattern in task["zero_shot"]
    }
    assert {kind.question for kind in bench.KINDS} == learned


def test_every_file_that_is_asked_about_is_kept_out_of_what_is_learned():
    compared = {Path(path).stem for path in RECIPE["data"]["rules"]["decontaminate"]["sets"].values()}
    assert {kind.rows for kind in bench.KINDS} <= compared
    assert all(source["clean"] == ["decontaminate"] for source in RECIPE["data"]["sources"].values())


def test_paired_shares_have_the_interval_of_their_difference():
    found = bench.paired([False] * 8 + [True] * 2, [True] * 7 + [False, True, False])
    assert (found["before"], found["after"], found["more"], found["less"]) == (0.2, 0.8, 7, 1)
    assert found["difference"] == pytest.approx(0.6)
    # Of seven times 1, twice 0 and once -1: the sample's standard deviation over the root of 10, times t of 9 degrees.
    assert (found["low"], found["high"]) == pytest.approx((0.6 - 0.500, 0.6 + 0.500), abs=5e-4)
    assert found["p"] == pytest.approx(2 * 9 / 2**8)


def test_rows_that_are_learned_are_not_asked_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def rows(name: str, split: str, _: Any) -> list[dict[str, Any]]:
        number = range(1000)
        if name == "sst2":
            return [{"sentence": f"sentence {i} ", "label": i % 2} for i in number]
        if name == "gsm8k":
            return [{"question": f"{split} sum {i}", "answer": f"<<1+1=2>>2\n#### {i}"} for i in number]
        choices = {"label": ["A", "B"], "text": ["a", "b"]}
        key = "question_stem" if name == "openbookqa" else "question"
        return [{key: f"{name} {split} {i}", "choices": choices, "answerKey": "B"} for i in number]

    made = script_module("bench/tuned_rows.py")
    monkeypatch.setattr(made, "rows_of", rows)
    asked = made.write_all(tmp_path, None)
    for name, count in made.LEARNED.items():
        learned = [json.loads(line) for line in (tmp_path / "learn" / f"{name}.jsonl").read_text().splitlines()]
        assert len(learned) == count
        assert not [row for row in learned if any(row in rows for rows in asked.values())]
    assert asked["sums"][0]["answer"].startswith("2\n####")
    assert asked["arc_easy"][0]["answer"] == "b"
