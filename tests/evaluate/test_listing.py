"""Results as lines of text."""

from puna.core.schema.evaluation import EngineUsed, EvaluatedModel, Metric, Results, TaskResult
from puna.evaluate.listing import describe


def task(id: str, metrics: dict[str, Metric], n: int) -> TaskResult:
    return TaskResult(
        id=id, title="T", protocol="harness", protocol_version=1, task_version=1, data="d", data_sha256="a", split="s",
        shots=0, bos="one", n=n, of=100, metrics=metrics,
    )  # fmt: skip


def test_every_figure_has_its_interval_and_its_number_of_documents() -> None:
    results = Results(
        model=EvaluatedModel(path="m", title="m"), engine=EngineUsed(title="e", exact=True),
        tasks=[
            task("harness/a@0", {
                "acc_norm": Metric(value=0.25, n=100, stderr=0.04, low=0.17, high=0.33),
                "acc": Metric(value=0.5, n=98, missing=2),
            }, 100),
            task("llama/bcd@5", {"em": Metric(value=None, n=0, missing=7)}, 7),
        ],
        missing={"llama/e@0": "its data is not here"},
    )  # fmt: skip
    assert describe(results).splitlines() == [
        "harness/a@0  acc_norm  0.2500  0.1700 to 0.3300  100 documents",
        "             acc       0.5000                    98 of 100 documents, 2 could not be measured",
        "llama/bcd@5  em        -                         0 of 100 documents, 7 could not be measured",
        "llama/e@0: not done, its data is not here",
    ]


def test_without_any_task_only_what_is_missing_is_listed() -> None:
    model, engine = EvaluatedModel(path="m", title="m"), EngineUsed(title="e", exact=True)
    assert describe(Results(model=model, engine=engine, tasks=[])) == ""
