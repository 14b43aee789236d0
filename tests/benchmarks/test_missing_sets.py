"""Sets whose data cannot be had here, from files made up in the form in which their authors hand them out."""

import json
from pathlib import Path
from typing import Any

import pytest

from puna.benchmarks.files import open_split, store
from puna.benchmarks.manifest import find_entry


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("PUNA_BENCHMARKS", raising=False)


def opened(tmp_path: Path, name: str, split: str, files: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The rows of a set that is made of these files, after its hash was recorded and proven."""
    assert find_entry(name, split).sha256 is None
    for path, rows in files.items():
        (tmp_path / "given" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "given" / path).write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = open_split(name, split, data_dir=tmp_path / "given")
    assert found.missing == ""
    assert found.n == (find_entry(name, split).rows or found.n)
    record = json.loads((store() / name / f"{split}.record.json").read_text())
    assert record["sha256"] == found.sha256 == open_split(name, split).sha256
    return list(found.rows)


@pytest.mark.parametrize(("school", "questions"), [("middle", 1436), ("high", 3498)])
def test_race_is_a_row_for_each_question_of_its_articles(tmp_path: Path, school: str, questions: int) -> None:
    def article(number: int, n: int) -> list[dict[str, Any]]:
        names = [f"Why {question}?" for question in range(n)]
        asked = {"questions": names, "options": [["a", "b", "c", "d"]] * n, "answers": ["C"] * n}
        return [{"id": f"{school}{number}.txt", "article": "x"} | asked]

    rows = opened(
        tmp_path, f"race_{school}", "test",
        {
            f"RACE/test/{school}/2.txt": article(2, questions - 3), f"RACE/test/{school}/1.txt": article(1, 3),
            f"RACE/dev/{school}/3.txt": article(3, 2),
        },
    )  # fmt: skip
    always = {"article": "x", "options": ["a", "b", "c", "d"], "answer": "C"}
    assert rows[2:4] == [
        always | {"example_id": f"{school}1.txt", "question": "Why 2?"},
        always | {"example_id": f"{school}2.txt", "question": "Why 0?"},
    ]


@pytest.mark.parametrize(("round", "n"), [(1, 1000), (2, 1000), (3, 1200)])
def test_anli_has_its_labels_as_numbers(tmp_path: Path, round: int, n: int) -> None:
    made = [
        {"uid": str(number), "context": "p", "hypothesis": "h", "label": "enc"[number % 3], "reason": ""}
        for number in range(n)
    ]
    rows = opened(tmp_path, "anli", f"test_r{round}", {f"anli_v1.0/R{round}/test.jsonl": made})
    assert [row["label"] for row in rows[:4]] == [0, 1, 2, 0]
    assert {row["premise"] for row in rows} == {"p"}


def test_record_is_a_row_for_each_question_with_sorted_entities(tmp_path: Path) -> None:
    passage = {"text": "B met A.", "entities": [{"start": 0, "end": 0}, {"start": 6, "end": 6}]}
    questions = [{"query": "@placeholder", "idx": number, "answers": [{"text": "A"}]} for number in range(10000)]
    made = [{"idx": 5, "passage": passage, "qas": questions}]
    rows = opened(tmp_path, "record", "validation", {"ReCoRD/val.jsonl": made})
    assert rows[9999] == {
        "passage": "B met A.", "query": "@placeholder", "entities": ["A", "B"], "answers": ["A"],
        "idx": {"passage": 5, "query": 9999},
    }  # fmt: skip


def test_wic_has_its_labels_as_numbers(tmp_path: Path) -> None:
    place = {"word": "w", "sentence1": "w", "sentence2": "w", "start1": 0, "start2": 0, "end1": 1, "end2": 1}
    made = [place | {"idx": number, "label": number % 2 == 1, "version": 1.1} for number in range(638)]
    rows = opened(tmp_path, "wic", "validation", {"WiC/val.jsonl": made})
    assert [row["label"] for row in rows[:3]] == [0, 1, 0]
    assert "version" not in rows[0]


def test_real_toxicity_prompts_are_read_as_they_are(tmp_path: Path) -> None:
    made = [{"filename": "x", "prompt": {"text": "So", "toxicity": 0.1}, "continuation": {"text": "on"}}]
    path = "realtoxicityprompts-data/prompts.jsonl"
    assert opened(tmp_path, "real_toxicity_prompts", "train", {path: made}) == made
