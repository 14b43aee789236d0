"""Results for the hub, as its own library reads them."""

from pathlib import Path
from typing import Any

import yaml as pyyaml
from huggingface_hub import parse_eval_result_entries
from huggingface_hub.repocard_data import model_index_to_eval_results
from hypothesis import given
from hypothesis import strategies as st

from puna.core.layout import EvaluationDir
from puna.core.schema.evaluation import EngineUsed, EvaluatedModel, Metric, Results, TaskResult
from puna.evaluate.hub_card import write_hub_results, yaml

TASK: dict[str, Any] = {
    "protocol": "harness", "protocol_version": 1, "task_version": 2, "data_sha256": "ab", "bos": "one", "n": 100,
    "of": 10042, "limit_seed": 0,
}  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=9), below, max_size=3),
    max_leaves=6,
)


def results() -> Results:
    """Two tasks, of which only the first one's data is on the hub."""
    tasks = [
        TaskResult(
            **TASK, id="harness/hellaswag@0", title="HellaSwag", data="hellaswag", split="validation", shots=0,
            metrics={
                "acc_norm": Metric(value=0.61, n=100, stderr=0.049, low=0.51, high=0.71),
                "acc": Metric(value=0.4, n=100), "other": Metric(value=None, n=0, missing=100),
            },
        ),
        TaskResult(
            **TASK, id="mine/quiz@2", title="My quiz", data="quiz.jsonl", split="test", shots=2,
            metrics={"acc": Metric(value=0.5, n=100)},
        ),
    ]  # fmt: skip
    model = EvaluatedModel(path="runs/demo", title='demo: "first"')
    return Results(model=model, engine=EngineUsed(title="kernels", exact=True), tasks=tasks)


@given(VALUES)
def test_yaml_is_read_back_as_the_same_values(value: Any) -> None:
    assert pyyaml.safe_load(yaml(value)) == value


def test_the_hubs_library_reads_the_present_form(tmp_path: Path) -> None:
    evaluation = EvaluationDir(tmp_path)
    without = write_hub_results(evaluation, results(), "2026-11-30T10:00:00+00:00")
    assert without == ["mine/quiz@2"]
    (file,) = evaluation.hub_results.iterdir()
    assert file.name == "harness-hellaswag-0.yaml"
    entries = parse_eval_result_entries(pyyaml.safe_load(file.read_text()))
    assert [(one.dataset_id, one.task_id, one.value) for one in entries] == [
        ("Rowan/hellaswag", "default", 0.61),
        ("Rowan/hellaswag", "default", 0.4),
    ]
    assert entries[0].date == "2026-11-30T10:00:00+00:00"
    assert entries[0].notes == (
        "acc_norm: harness/hellaswag@0, protocol version 1, task version 2; 100 of 10,042 documents; "
        "standard error 0.049"
    )


def test_the_hubs_library_reads_the_older_form(tmp_path: Path) -> None:
    evaluation = EvaluationDir(tmp_path)
    write_hub_results(evaluation, results(), "2026-11-30T10:00:00+00:00")
    content = pyyaml.safe_load(evaluation.model_index.read_text())
    name, entries = model_index_to_eval_results(content["model-index"])
    assert name == 'demo: "first"'
    assert [(one.dataset_type, one.dataset_split, one.metric_type, one.metric_value) for one in entries] == [
        ("Rowan/hellaswag", "validation", "accuracy", 0.61),
        ("Rowan/hellaswag", "validation", "accuracy", 0.4),
    ]
    assert entries[0].dataset_args is not None
    assert entries[0].dataset_args["num_few_shot"] == 0
