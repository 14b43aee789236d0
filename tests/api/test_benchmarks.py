"""Lists of tasks, and their data."""

from dataclasses import replace
from pathlib import Path

import pytest

from puna.api.benchmarks import fetch_data, list_tasks
from puna.core.errors import EvaluateError
from puna.evaluate.registry import tasks


def test_a_name_may_be_that_of_a_suite_a_protocol_a_benchmark_or_a_task() -> None:
    assert {task.id.partition("@")[0] for task in list_tasks()} == set(tasks())
    assert all(task.id.startswith("harness/") for task in list_tasks(["harness"]))
    assert {task.id for task in list_tasks(["hellaswag"])} >= {"harness/hellaswag@0", "llama/hellaswag@0"}
    (task,) = list_tasks(["harness/hellaswag@10"])
    assert (task.id, task.title, task.metrics) == ("harness/hellaswag@10", "HellaSwag", ("acc_norm", "acc"))
    assert (task.data, task.licence) == ("hellaswag, validation", "MIT")
    assert {"llama/mmlu@5", "llama/nq_open@64"} <= {task.id for task in list_tasks(["llama"])}
    with pytest.raises(EvaluateError, match="'helaswag' is not a task"):
        list_tasks(["helaswag"])


def test_a_package_s_task_on_data_that_nobody_knows_is_listed_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    known = tasks()
    odd = replace(known["harness/hellaswag"], name="odd", data="odd_data", license_note="MIT", shots=0)
    split = replace(known["harness/hellaswag"], name="split", split="odd_split", shots=0)
    monkeypatch.setattr("puna.evaluate.registry.load_plugins", lambda group, kind: {"odd": odd, "split": split})
    (entry,) = list_tasks(["harness/odd"])
    assert entry.missing == "harness/odd@0: 'odd_data' is not a benchmark that Puna knows"
    assert (entry.data, entry.licence) == ("odd_data, validation", "MIT")
    assert "has no split 'odd_split'" in list_tasks(["harness/split"])[0].missing
    assert len(list_tasks()) == len(known) + 2


def test_each_split_of_the_tasks_is_fetched_once_and_what_cannot_be_had_is_named_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    asked = []

    class Found:
        n, sha256 = 12, "ab"

    def fetch(data: str, split: str, *, data_dir: Path | None) -> Found:
        asked.append((data, split, data_dir))
        if split == "train":
            raise EvaluateError(f"{data}, split train, cannot be fetched")
        return Found()

    monkeypatch.setattr("puna.benchmarks.fetch.fetch", fetch)
    with pytest.raises(EvaluateError, match="1 of 2 splits could not be had; the others are here"):
        fetch_data(["harness/hellaswag", "harness/hellaswag@5"], data_dir=tmp_path)
    assert asked == [("hellaswag", "validation", tmp_path), ("hellaswag", "train", tmp_path)]
    said = capsys.readouterr().err
    assert "hellaswag, validation: 12 rows, SHA-256 ab" in said
    assert "warning: hellaswag, split train, cannot be fetched" in said


def test_a_directory_of_data_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for ask in (list_tasks, fetch_data):
        with pytest.raises(EvaluateError, match="nowhere: is not a directory"):
            ask(["harness/piqa"], data_dir=tmp_path / "nowhere")
