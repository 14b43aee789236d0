"""Names become tasks, each once."""

from pathlib import Path

import pytest
from own_tasks import write_tasks

from puna.core.errors import EvaluateError
from puna.evaluate.wanted import names_of, opener, wanted


def test_names_may_be_in_one_text_or_in_several() -> None:
    assert names_of("a/b, c/d@5,,a/b ") == names_of(["a/b", "c/d@5", "a/b"]) == names_of(["a/b,c/d@5"])
    assert names_of(["", " , "]) == []


def test_a_task_that_is_named_is_not_among_those_of_the_suite(tmp_path: Path) -> None:
    own = write_tasks(tmp_path)
    found = wanted(["llama/piqa", str(own), "harness/piqa@3", "harness/piqa@0"], "llama", None)
    assert [task.id for task in found.named] == [
        "llama/piqa@0", "own/letters@1", "own/next@0", "own/answers@0", "harness/piqa@3", "harness/piqa@0",
    ]  # fmt: skip
    ids = [task.id for task in found.all]
    assert len(set(ids)) == len(ids)
    assert {"llama/boolq@0", "llama/mmlu@5", "llama/nq_open@64"} <= {task.id for task in found.of_suite}
    assert "llama/piqa@0" not in {task.id for task in found.of_suite}


def test_tasks_on_other_data_stand_in_for_those_of_a_suite_that_are_not_named() -> None:
    instead = wanted([], "openllama", None).instead
    assert {id: task.id for id, task in instead.items()} == {
        "harness/truthfulqa_mc1@0": "harness/truthfulqa_csv_mc1@0",
        "harness/truthfulqa_mc2@0": "harness/truthfulqa_csv_mc2@0",
    }
    assert list(wanted(["harness/truthfulqa_mc1"], "openllama", None).instead) == ["harness/truthfulqa_mc2@0"]
    assert wanted(["harness/truthfulqa_mc1"], None, None).instead == {}


def test_nothing_and_unknown_names_are_refused() -> None:
    with pytest.raises(EvaluateError, match="nothing is asked for"):
        wanted([], None, None)
    with pytest.raises(EvaluateError, match="'llama3' is not a suite"):
        wanted([], "llama3", None)


def test_two_files_with_a_task_of_one_name_are_refused(tmp_path: Path) -> None:
    one, other = write_tasks(tmp_path / "one"), write_tasks(tmp_path / "other")
    with pytest.raises(EvaluateError, match=r"own/letters@1 is in .*one/tasks.toml and in .*other/tasks.toml"):
        wanted([str(one), str(other)], None, None)
    assert len(wanted([str(one), str(one)], None, None).named) == 3


def test_data_of_own_tasks_lies_beside_their_file(tmp_path: Path) -> None:
    path = write_tasks(tmp_path / "mine", rows=3)
    split = opener(None)(str(path), "letters.jsonl")
    assert [row["one"] for row in split.rows] == ["a", "b", "c"]
    assert opener(None)(str(path), "none.jsonl").missing
    with pytest.raises(EvaluateError, match="nowhere: is not a directory"):
        opener(Path("nowhere"))
