"""Evaluation sets by files and as benchmarks, whose manifest has three small sets here."""

from pathlib import Path

import pytest

from puna.benchmarks.canonical import line
from puna.benchmarks.manifest import manifest, parse
from puna.core.errors import DataError
from puna.data.models import evaluation_sets
from puna.data.models.evaluation_sets import not_compared, set_files
from puna.evaluate.registry import tasks

ABOUT = {"title": "T", "citation": "C", "licence": "MIT"}


@pytest.fixture(autouse=True)
def three_benchmarks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`quiz` with splits for questions and for training, `far` that is not here, and prompts made of quiz."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PUNA_BENCHMARKS", str(tmp_path / "given"))
    (tmp_path / "given").mkdir()
    for name in ("test", "validation", "train"):
        (tmp_path / "given" / f"quiz-{name}.jsonl").write_bytes(line({"q": name}))
    quiz = {name: {"sources": [{"file": f"quiz-{name}.jsonl"}]} for name in ("test", "validation", "train")}
    sets = parse(
        {
            "quiz": ABOUT | {"splits": quiz},
            "far": ABOUT | {"splits": {"test": {"sources": [{"file": "far.jsonl"}]}}},
            "olmes_quiz": ABOUT | {"splits": {"rc": {"sources": [{"file": "quiz-test.jsonl"}]}}},
        }
    )
    known = {entry.name: entry for entry in sets}
    monkeypatch.setattr("puna.benchmarks.manifest.manifest", lambda: known)
    monkeypatch.setattr("puna.data.models.evaluation_sets.manifest", lambda: known)


def stored(tmp_path: Path, *splits: str) -> list[Path]:
    return [tmp_path / "cache" / "puna" / "benchmarks" / "quiz" / f"{split}.jsonl" for split in splits]


def test_a_benchmark_is_its_canonical_files_without_what_is_there_to_train_on(tmp_path: Path) -> None:
    found = set_files({"mine": "benchmark:quiz"})
    assert found == {"mine": stored(tmp_path, "test", "validation")}
    assert [path.read_bytes() for path in found["mine"]] == [line({"q": "test"}), line({"q": "validation"})]


def test_every_split_that_a_task_asks_about_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    asked = {(task.data, task.split) for task in tasks().values()}
    known = {(name, split.name) for name, entry in manifest().items() for split in evaluation_sets._asked(entry)}
    assert asked <= known


def test_a_benchmark_with_nothing_to_ask_is_refused_and_not_among_all(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = parse({"jobs": ABOUT | {"splits": {"statistics": {"sources": [{"file": "jobs.jsonl"}]}}}})
    known = {entry.name: entry for entry in sets}
    monkeypatch.setattr("puna.benchmarks.manifest.manifest", lambda: known)
    monkeypatch.setattr("puna.data.models.evaluation_sets.manifest", lambda: known)
    with pytest.raises(DataError, match=r"sets\.mine: the benchmark has no rows with which models are asked"):
        set_files({"mine": "benchmark:jobs"})
    assert set_files({"all": "benchmark:*"}) == {}
    assert not_compared({"all": "benchmark:*"}) == []


def test_all_benchmarks_are_those_that_are_here_each_under_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "exam.csv").write_text("a\n")
    sets = {"all": "benchmark:*", "exam": str(tmp_path / "*.csv")}
    assert set_files(sets) == {"exam": [tmp_path / "exam.csv"], "quiz": stored(tmp_path, "test", "validation")}
    assert not_compared(sets) == ["far"]
    assert not_compared({"exam": str(tmp_path / "*.csv")}) == []


def test_a_set_that_the_recipe_names_itself_is_not_taken_twice(tmp_path: Path) -> None:
    (tmp_path / "quiz.txt").write_text("a\n")
    assert set_files({"all": "benchmark:*", "quiz": str(tmp_path / "quiz.txt")}) == {"quiz": [tmp_path / "quiz.txt"]}


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("benchmark:quizz", r"rules\.decontaminate\.sets\.mine: 'quizz' is not a benchmark that Puna knows"),
        ("benchmark:far", r"rules\.decontaminate\.sets\.mine: far, split test, is not here; to get it"),
        ("none*.csv", r"rules\.decontaminate\.sets\.mine: no file is found by 'none\*\.csv'"),
    ],
)
def test_what_is_not_there_is_named_with_the_key_of_the_recipe(pattern: str, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        set_files({"mine": pattern})
