"""A directory of results: what is kept of the same model, what is refused of another."""

import json
from pathlib import Path

import pytest

from puna.core.errors import EvaluateError
from puna.core.layout import EvaluationDir
from puna.core.schema.evaluation import EngineUsed, EvaluatedModel, Metric, Results, TaskResult
from puna.evaluate.outputs import begin, keep, write_results

MODEL = EvaluatedModel(path="runs/a", title="a", weights_sha256="w", tokenizer_sha256="t")
ENGINE = EngineUsed(title="e", exact=True)


def task(name: str, value: float) -> TaskResult:
    return TaskResult(
        id=f"harness/{name}@0", title=name, protocol="harness", protocol_version=1, task_version=1, data=name,
        data_sha256="d", split="s", shots=0, bos="one", n=2, of=2, metrics={"acc": Metric(value=value, n=2)},
    )  # fmt: skip


def test_a_task_takes_the_place_of_its_earlier_result_and_others_stay() -> None:
    empty = Results(model=MODEL, engine=ENGINE, tasks=[], missing={"harness/a@0": "away", "harness/c@0": "away"})
    results = keep(keep(keep(empty, task("a", 0.5)), task("b", 0.25)), task("a", 0.75))
    assert [(one.id, one.main[1].value) for one in results.tasks] == [("harness/a@0", 0.75), ("harness/b@0", 0.25)]
    assert results.missing == {"harness/c@0": "away"}


def test_results_of_the_same_model_stay_and_the_record_goes_until_it_is_finished_again(tmp_path: Path) -> None:
    directory = EvaluationDir(tmp_path)
    write_results(directory, keep(begin(directory, MODEL, ENGINE, {}), task("a", 0.5)))
    directory.record.write_text("{}")
    moved = MODEL.model_copy(update={"path": "elsewhere"})
    again = begin(directory, moved, ENGINE, {"harness/a@0": "gone", "harness/z@0": "away"})
    assert (again.tasks, again.model) == ([task("a", 0.5)], moved)
    assert again.missing == {"harness/z@0": "away"}
    write_results(directory, again.model_copy(update={"suite": "llama"}))
    third = begin(directory, MODEL, ENGINE, {"harness/y@0": "away too"})
    assert (third.suite, third.missing) == ("llama", {"harness/z@0": "away", "harness/y@0": "away too"})
    assert not directory.record.exists()


@pytest.mark.parametrize(
    ("model", "engine", "says"),
    [
        (MODEL.model_copy(update={"weights_sha256": "x"}), ENGINE, "another model, runs/a"),
        (MODEL.model_copy(update={"tokenizer_sha256": "x"}), ENGINE, "another model, runs/a"),
        (MODEL, EngineUsed(title="f", exact=True), "the same model on another engine, e"),
        (MODEL, EngineUsed(title="e", exact=True, weights="int8"), "the same model on another engine, e"),
    ],
)
def test_a_directory_of_another_model_is_refused_and_stays(
    tmp_path: Path, model: EvaluatedModel, engine: EngineUsed, says: str
) -> None:
    directory = EvaluationDir(tmp_path)
    write_results(directory, keep(begin(directory, MODEL, ENGINE, {}), task("a", 0.5)))
    directory.record.write_text("{}")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(EvaluateError, match=f"has results of {says}"):
        begin(directory, model, engine, {})
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_figures_are_written_before_the_evaluation_is_finished(tmp_path: Path) -> None:
    directory = EvaluationDir(tmp_path)
    write_results(directory, keep(begin(directory, MODEL, ENGINE, {}), task("a", 0.5)))
    assert json.loads(directory.results.read_text())["tasks"][0]["metrics"]["acc"]["value"] == 0.5
    assert not directory.record.exists()
