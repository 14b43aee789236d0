"""An evaluation by lm-evaluation-harness, as a user starts it."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from evaluating import hellaswag_rows

import puna
from puna.core.errors import EvaluateError
from puna.core.files import write_json
from puna.core.layout import RunDir
from puna.core.schema.evaluation import read_documents, read_results


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """lm-eval and what it imports warn at every turn, and tests take warnings for errors."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A task of one's own for lm-eval, with its data, and a directory without benchmarks."""
    data = tmp_path / "rows.json"
    write_json(data, hellaswag_rows(5))
    (tmp_path / "own.yaml").write_text(
        f"task: own\ndataset_path: json\ndataset_kwargs:\n  data_files:\n    validation: {data}\n"
        "validation_split: validation\noutput_type: multiple_choice\ndoc_to_text: ctx_a\ndoc_to_choice: endings\n"
        "doc_to_target: '{{label|int}}'\n"
        "metric_list:\n  - metric: acc\n    aggregation: mean\n    higher_is_better: true\n"
    )
    return tmp_path


def test_a_task_of_ones_own_leaves_results_like_those_of_puna(tiny_run: RunDir, data_dir: Path) -> None:
    task, out = data_dir / "own.yaml", data_dir / "out"
    found = puna.evaluate(tiny_run.root, tasks=str(task), out=out, engine="lm-eval")
    [result] = found.results.tasks
    assert (result.id, result.n, result.shots) == ("lm-eval/own@0", 5, 0)
    assert read_results(found.directory.results) == found.results
    lines = list(read_documents(found.directory.documents_of("lm-eval/own@0")))
    assert [line.gold for line in lines] == [[0], [1], [2], [3], [0]]
    assert sum(line.values["acc"] or 0 for line in lines) / 5 == result.metrics["acc"].value
    assert found.directory.record.is_file()


@pytest.mark.parametrize(
    ("tasks", "says"),
    [("", "no task is named"), ("hellaswag@many", "shots is 'many', but must be a whole number, as in hellaswag@5")],
)
def test_what_cannot_be_done_is_a_sentence(tiny_run: RunDir, tmp_path: Path, tasks: str, says: str) -> None:
    with pytest.raises(EvaluateError, match=says):
        puna.evaluate(tiny_run.root, tasks=tasks, out=tmp_path / "out", engine="lm-eval")
    assert not (tmp_path / "out" / "results.json").exists()


def test_processes_that_share_the_call_are_refused(
    tiny_run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(EvaluateError, match="lm-eval runs in one process"):
        puna.evaluate(tiny_run.root, tasks="hellaswag", out=tmp_path / "out", engine="lm-eval")
