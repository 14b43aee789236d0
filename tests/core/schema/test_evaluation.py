"""Results and documents come back as they were written, and damaged ones are named in one sentence."""

import json
from pathlib import Path

import pytest

from puna.core.errors import DataError
from puna.core.schema.evaluation import (
    DocumentLine,
    EngineUsed,
    EvaluatedModel,
    Metric,
    Results,
    ScoredText,
    TaskResult,
    read_documents,
    read_results,
)

TASK = TaskResult(
    id="harness/hellaswag@0", title="HellaSwag", protocol="harness", protocol_version=1, task_version=1,
    data="hellaswag", data_sha256="ab" * 32, split="validation", shots=0, bos="one", n=2, of=10042, limit_seed=0,
    metrics={"acc_norm": Metric(value=0.5, n=2, stderr=0.5, low=-5.85, high=6.85), "acc": Metric(value=0.0, n=2)},
)  # fmt: skip
RESULTS = Results(
    model=EvaluatedModel(path="runs/demo", title="demo"),
    engine=EngineUsed(title="PyTorch on cpu", exact=True),
    tasks=[TASK],
)


def written(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value))
    return path


def test_results_come_back_as_they_were_written(tmp_path: Path) -> None:
    found = read_results(written(tmp_path / "results.json", RESULTS.as_dict()))
    assert found == RESULTS
    assert found.as_dict()["schema"] == 1
    assert found.tasks[0].main == ("acc_norm", TASK.metrics["acc_norm"])


def test_results_of_another_version_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "results.json", RESULTS.as_dict() | {"schema": 2})
    with pytest.raises(DataError, match=r"results\.json: 'schema' should be 1, got 2"):
        read_results(path)


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    value = RESULTS.as_dict()
    del value["tasks"][0]["data_sha256"]
    with pytest.raises(DataError, match=r"results\.json: 'tasks\.0\.data_sha256' is missing"):
        read_results(written(tmp_path / "results.json", value))


LINE = DocumentLine(
    id="7", kind="choose", context="Q", gold=[1], values={"acc": 1.0, "f1": None},
    options=[
        ScoredText(continuation=" a", logprob=-1.25, tokens=1),
        ScoredText(continuation=" b", logprob="-inf", tokens=2),
    ],
)  # fmt: skip


def test_documents_come_back_in_their_order_without_the_header(tmp_path: Path) -> None:
    other = LINE.model_copy(update={"id": "3"})
    lines = [{"schema": 1}, LINE.model_dump(mode="json", exclude_defaults=True), other.model_dump(mode="json")]
    path = tmp_path / "documents.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert list(read_documents(path)) == [LINE, other]


def test_a_damaged_document_is_named_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "documents.jsonl"
    path.write_text('{"schema": 1}\n{"id": "7", "kind": "chooses", "values": {}}\n')
    with pytest.raises(DataError, match=r"documents\.jsonl: line 2: 'kind' should be 'choose', 'continue', 'read' or"):
        list(read_documents(path))
    with pytest.raises(DataError, match="cannot be read"):
        list(read_documents(tmp_path / "none.jsonl"))
