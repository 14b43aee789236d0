"""Tasks of lm-eval by their names, on local data."""

import importlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from evaluating import hellaswag_rows, opener

from puna.benchmarks.manifest import find_set
from puna.core.errors import EvaluateError
from puna.evaluate.documents import OpenSplit
from puna.evaluate.harness_tasks import LOCAL, Data, Local, load_tasks

MMLU = [
    {"question": f"{subject} {n}?", "subject": subject, "choices": ["a", "b", "c", "d"], "answer": n % 4}
    for subject in ("anatomy", "astronomy") for n in range(3)
]  # fmt: skip


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test asks the hub; lm-eval and what it imports warn at every turn."""
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setenv(name, "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import datasets.config

        monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        yield


@pytest.fixture
def few_task_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of lm-eval's task files are those of one folder: reading the others takes half a minute."""
    import lm_eval.tasks

    whole = lm_eval.tasks.TaskManager
    folder = str(importlib.import_module("lm_eval.tasks").__path__[0]) + "/arc"

    def manager(**arguments: Any) -> Any:
        return whole(**(arguments or {"include_path": folder, "include_defaults": False}))

    monkeypatch.setattr(lm_eval.tasks, "TaskManager", manager)


def data(open_split: OpenSplit, shots: int | None = None) -> Data:
    return Data(open_split=open_split, shots=shots)


def test_a_task_is_made_of_local_rows() -> None:
    rows = hellaswag_rows(4)
    of = data(opener({("hellaswag", "validation"): rows}))
    [task] = load_tasks(["hellaswag"], of)["tasks"].values()
    assert [doc["ctx_a"] for doc in task.eval_docs] == [row["ctx_a"] for row in rows]
    assert list(of.opened) == [("Rowan/hellaswag", "")]


def test_a_group_has_the_rows_of_each_subject() -> None:
    of = data(opener({("mmlu", "test"): MMLU, ("mmlu", "dev"): MMLU[:5]}))
    loaded = load_tasks(["mmlu_anatomy", "mmlu_astronomy"], of)
    assert {name: len(task.eval_docs) for name, task in loaded["tasks"].items()} == {
        "mmlu_anatomy": 3,
        "mmlu_astronomy": 3,
    }


def test_solved_examples_need_their_split_too(few_task_files: None) -> None:
    only_documents = opener({("hellaswag", "validation"): hellaswag_rows(4)})
    with pytest.raises(EvaluateError, match=r"hellaswag: its data set Rowan/hellaswag is not here and cannot be down"):
        load_tasks(["hellaswag"], data(only_documents, shots=2))


def test_a_task_that_is_not_there_is_refused_with_those_that_are_like_it(few_task_files: None) -> None:
    with pytest.raises(EvaluateError, match="lm-eval has no task 'arc_esay'") as refused:
        load_tasks(["arc_esay"], data(opener({})))
    assert "arc_easy" in str(refused.value.hint)


def test_a_task_that_needs_what_is_not_installed_says_so(tmp_path: Path) -> None:
    (tmp_path / "needs.py").write_text("import a_package_that_nobody_has\n\ndef text(doc):\n    return ''\n")
    task = tmp_path / "needy.yaml"
    task.write_text("task: needy\ndataset_path: json\ndoc_to_text: !function needs.text\n")
    with pytest.raises(EvaluateError, match=r"lm-eval cannot make .*needy\.yaml: .*a_package_that_nobody_has"):
        load_tasks([str(task)], data(opener({})))


def test_local_sets_are_in_the_manifest() -> None:
    for entry in LOCAL.values():
        for local in [entry] if isinstance(entry, Local) else entry.values():
            assert find_set(local.name).splits
