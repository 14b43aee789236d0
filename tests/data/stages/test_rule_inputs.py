"""What rules need besides thresholds decides the result too."""

import json
from pathlib import Path

import pytest

from puna.benchmarks.files import open_split
from puna.benchmarks.manifest import parse
from puna.config.recipe import Recipe
from puna.core.errors import DataError
from puna.core.layout import DataDir
from puna.data.stages.plan import build_documents, plan_documents

QUESTION = "A tyger ate seven lambs on Monday and half as many more on each of the three days after that one."


@pytest.fixture
def compared(recipe: Recipe, shelf: Path, changed) -> Recipe:
    (shelf / "poems" / "read" / "leak.txt").write_text(f"They asked. {QUESTION.upper()} Nobody knew.")
    (shelf / "eval.jsonl").write_text(json.dumps({"question": QUESTION, "answer": "17"}))
    return changed(
        recipe, sources__poems__clean=["decontaminate"], rules__decontaminate__sets={"lambs": str(shelf / "eval.jsonl")}
    )


def test_a_document_with_a_question_of_an_evaluation_set_is_dropped_and_reported(compared: Recipe, out: DataDir, lines):
    build_documents(compared, out)
    (dropped,) = lines("poems", "dropped")
    assert (dropped["id"], dropped["reason"]) == ("read/leak.txt", "decontaminate.overlap")
    (row,) = lines("poems", "report")
    assert (row["id"], row["set"], row["row"]) == ("read/leak.txt", "lambs", 1)
    assert lines("code", "report") == []


def test_a_benchmark_is_compared_by_its_name_and_the_build_says_by_which_hash(
    recipe: Recipe, out: DataDir, shelf: Path, tmp_path: Path, changed, lines, monkeypatch: pytest.MonkeyPatch
):
    about = {"title": "T", "citation": "C", "licence": "MIT"}
    (entry,) = parse({"lambs": about | {"splits": {"test": {"sources": [{"file": "lambs.jsonl"}]}}}})
    monkeypatch.setattr("puna.benchmarks.manifest.manifest", lambda: {"lambs": entry})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PUNA_BENCHMARKS", str(tmp_path / "given"))
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "lambs.jsonl").write_text(json.dumps({"question": QUESTION}))
    (shelf / "poems" / "read" / "leak.txt").write_text(f"They asked. {QUESTION.upper()} Nobody knew.")
    sets = {"sheep": "benchmark:lambs"}
    build_documents(changed(recipe, sources__poems__clean=["decontaminate"], rules__decontaminate__sets=sets), out)
    (row,) = lines("poems", "report")
    assert (row["id"], row["set"], row["file"], row["row"]) == ("read/leak.txt", "sheep", "test.jsonl", 1)
    record = json.loads((out.documents / "record.json").read_text())
    found = record["results"]["poems"]["evaluation_sets"]["sheep"]
    assert found["sha256"] == {"test.jsonl": open_split("lambs", "test").sha256}
    assert record["config"]["rules"]["decontaminate"]["sets"] == sets


def test_it_is_only_reported_where_the_recipe_says_so(compared: Recipe, out: DataDir, lines, changed):
    build_documents(changed(compared, rules__decontaminate__action="report"), out)
    assert lines("poems", "dropped") == []
    assert len(lines("poems", "report")) == 1


def test_a_changed_evaluation_set_makes_other_tasks_of_the_sources_that_are_compared(
    compared: Recipe, out: DataDir, shelf: Path
):
    def fingerprints() -> dict[str, str]:
        return {task.name: task.read.fingerprint for task in plan_documents(compared, out).finish}

    before = fingerprints()
    (shelf / "eval.jsonl").write_text(json.dumps({"question": "Another one."}))
    after = fingerprints()
    assert after["poems"] != before["poems"]
    assert after["code"] == before["code"]


def test_a_set_without_files_is_named(compared: Recipe, out: DataDir, changed):
    missing = changed(compared, rules__decontaminate__sets={"lambs": "nowhere/*.jsonl"})
    with pytest.raises(DataError, match="lambs"):
        plan_documents(missing, out)


def test_a_list_of_bad_words_is_part_of_what_decides(recipe: Recipe, out: DataDir, tmp_path: Path, changed):
    words = tmp_path / "bad.txt"
    words.write_text("tyger\n")
    rules = changed(recipe, sources__poems__clean=["c4"], rules__c4__bad_words=str(words))
    before = plan_documents(rules, out).finish[0].read.fingerprint
    words.write_text("lamb\n")
    assert plan_documents(rules, out).finish[0].read.fingerprint != before
