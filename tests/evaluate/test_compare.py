"""Two evaluations side by side: tests beside scipy's, and what is refused."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from puna.core.errors import EvaluateError
from puna.core.layout import EvaluationDir
from puna.evaluate.compare import compare, mcnemar

TASK: dict[str, Any] = {
    "title": "HellaSwag", "protocol": "harness", "protocol_version": 1, "task_version": 1, "data": "hellaswag",
    "data_sha256": "ab", "split": "validation", "shots": 0, "bos": "one", "of": 500,
}  # fmt: skip


def written(
    place: Path, tasks: dict[str, dict[str, list[float | None]]], *, title: str = "", **changes: Any
) -> EvaluationDir:
    """An evaluation with these values of documents, by task and metric."""
    made = EvaluationDir(place)
    made.documents.mkdir(parents=True)
    results = []
    for name, metrics in tasks.items():
        n = len(next(iter(metrics.values())))
        lines: list[Any] = [{"task": name}]
        lines += [
            {"id": str(i), "kind": "choose", "values": {metric: values[i] for metric, values in metrics.items()}}
            for i in range(n)
        ]
        made.documents_of(name).write_text("".join(json.dumps(line) + "\n" for line in lines))
        figures = {}
        for metric, values in metrics.items():
            there = [value for value in values if value is not None]
            figures[metric] = {"value": sum(there) / len(there), "n": len(there), "missing": n - len(there)}
        results.append(TASK | {"id": name, "n": n, "metrics": figures} | changes)
    model = {"path": str(place), "title": title or place.name}
    content = {"schema": 1, "model": model, "engine": {"title": "test", "exact": True}, "tasks": results}
    made.results.write_text(json.dumps(content))
    return made


def coin_flips(seed: int, n: int, share: float) -> list[float | None]:
    draw = random.Random(seed)
    return [float(draw.random() < share) for _ in range(n)]


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemars_p_value_equals_scipys_binomial_test(more: int, less: int) -> None:
    expected = stats.binomtest(more, more + less).pvalue if more + less else 1.0
    assert mcnemar(more, less) == pytest.approx(expected, rel=1e-9)


def test_mcnemars_p_value_of_very_many_documents_equals_scipys() -> None:
    assert mcnemar(2100, 2300) == pytest.approx(stats.binomtest(2100, 4400).pvalue, rel=1e-9)
    assert mcnemar(100, 40_000) == 0.0


def test_an_accuracy_is_compared_by_the_documents_that_only_one_has_right(tmp_path: Path) -> None:
    first, second = coin_flips(1, 300, 0.5), coin_flips(2, 300, 0.62)
    found = compare(
        written(tmp_path / "a", {"harness/hellaswag@0": {"acc": first}}),
        written(tmp_path / "b", {"harness/hellaswag@0": {"acc": second}}),
    )
    (one,) = found.differences
    more = sum(b > a for a, b in zip(first, second, strict=True))
    less = sum(b < a for a, b in zip(first, second, strict=True))
    assert (one.more, one.less, one.test, len(one.changed)) == (more, less, "McNemar, exact", more + less)
    assert one.p == pytest.approx(stats.binomtest(more, more + less).pvalue)
    interval = stats.ttest_rel(second, first).confidence_interval(0.95)
    assert (one.low, one.high) == pytest.approx((interval.low, interval.high))
    assert one.difference == pytest.approx(sum(second) / 300 - sum(first) / 300)  # type: ignore[arg-type]


def test_other_values_are_compared_by_a_paired_t_test(tmp_path: Path) -> None:
    draw = random.Random(5)
    first = [draw.gauss(1.2, 0.4) for _ in range(80)]
    second = [value + draw.gauss(-0.03, 0.1) for value in first]
    found = compare(
        written(tmp_path / "a", {"olmes/gsm8k_gold@5": {"bits_per_byte": list(first)}}),
        written(tmp_path / "b", {"olmes/gsm8k_gold@5": {"bits_per_byte": list(second)}}),
    )
    (one,) = found.differences
    assert one.test == "Student's t, paired"
    assert one.p == pytest.approx(stats.ttest_rel(second, first).pvalue)


def test_a_model_does_not_differ_from_itself(tmp_path: Path) -> None:
    values = {"harness/hellaswag@0": {"acc": coin_flips(3, 50, 0.4), "other": [0.1 * i for i in range(50)]}}
    found = compare(written(tmp_path / "a", values), written(tmp_path / "b", values))
    assert [(one.p, one.difference, one.changed) for one in found.differences] == [(1.0, 0.0, ())] * 2


def test_p_values_of_several_tasks_are_adjusted_as_by_holm(tmp_path: Path) -> None:
    names = [f"harness/task{i}@0" for i in range(4)]
    shares = (0.5, 0.56, 0.7, 0.5)
    first = {name: {"acc": coin_flips(i, 200, 0.5)} for i, name in enumerate(names)}
    second = {name: {"acc": coin_flips(10 + i, 200, shares[i])} for i, name in enumerate(names)}
    found = compare(written(tmp_path / "a", first), written(tmp_path / "b", second)).differences
    by_p = sorted((one for one in found), key=lambda one: one.p or 0.0)
    largest = 0.0
    for rank, one in enumerate(by_p):
        assert one.p is not None
        largest = max(largest, min(1.0, one.p * (len(by_p) - rank)))
        assert one.adjusted == pytest.approx(largest)


def test_a_value_that_one_model_lacks_is_in_neither_of_the_compared_figures(tmp_path: Path) -> None:
    a = written(tmp_path / "a", {"llama/toxicity@0": {"toxicity": [0.1, 0.2, None, 0.4]}})
    b = written(tmp_path / "b", {"llama/toxicity@0": {"toxicity": [0.2, 0.2, 0.9, 0.6]}})
    (one,) = compare(a, b).differences
    assert (one.n, one.first, one.second) == (3, pytest.approx(0.7 / 3), pytest.approx(1.0 / 3))


def test_a_metric_that_is_not_a_mean_has_a_difference_and_no_interval(tmp_path: Path) -> None:
    values = {"harness/cb@0": {"acc": coin_flips(1, 40, 0.5)}}
    places = written(tmp_path / "a", values), written(tmp_path / "b", values)
    for number, place in enumerate(places):
        content = json.loads(place.results.read_text())
        content["tasks"][0]["metrics"]["f1"] = {"value": 0.3 + number / 10, "n": 40}
        place.results.write_text(json.dumps(content))
    found = {one.metric: one for one in compare(*places).differences}
    assert (found["f1"].p, found["f1"].low) == (None, None)
    assert found["f1"].difference == pytest.approx(0.1)
    assert "is not a mean of documents" in str(compare(*places))


@pytest.mark.parametrize(
    "change", [{"data_sha256": "other"}, {"task_version": 2}, {"shot_split": "dev"}, {"bos": "none"}]
)
def test_what_was_asked_otherwise_is_not_compared(tmp_path: Path, change: dict[str, Any]) -> None:
    values = {"harness/hellaswag@0": {"acc": coin_flips(1, 10, 0.5)}}
    with pytest.raises(EvaluateError, match=next(iter(change))):
        compare(written(tmp_path / "a", values), written(tmp_path / "b", values, **change))


def test_a_task_with_other_documents_is_left_out_and_the_others_are_compared(tmp_path: Path) -> None:
    same = {"harness/piqa@0": {"acc": coin_flips(1, 10, 0.5)}}
    a = written(tmp_path / "a", {"harness/hellaswag@0": {"acc": coin_flips(1, 10, 0.5)}, **same})
    b = written(tmp_path / "b", {"harness/hellaswag@0": {"acc": coin_flips(1, 11, 0.5)}, **same})
    found = compare(a, b)
    assert {one.task for one in found.differences} == {"harness/piqa@0"}
    assert found.left_out == {"harness/hellaswag@0": "n is 10 in the first and 11 in the second"}
    file = b.documents_of("harness/piqa@0")
    file.write_text(file.read_text().replace('"id": "0"', '"id": "other"'))
    with pytest.raises(EvaluateError, match="piqa@0: they have asked about different documents"):
        compare(a, b)


def test_a_task_that_one_lacks_is_named_and_the_others_are_compared(tmp_path: Path) -> None:
    both = {"harness/hellaswag@0": {"acc": coin_flips(1, 10, 0.5)}}
    a = written(tmp_path / "a", both | {"harness/piqa@0": {"acc": coin_flips(2, 10, 0.5)}})
    b = written(tmp_path / "b", both)
    found = compare(a, b)
    assert [one.task for one in found.differences] == ["harness/hellaswag@0"]
    assert found.left_out == {"harness/piqa@0": f"only {a} has it"}
    assert "harness/piqa@0: not compared: only" in str(found)


def test_the_table_shows_figures_difference_interval_and_p_values(tmp_path: Path) -> None:
    a = written(tmp_path / "a", {"harness/hellaswag@0": {"acc": [1.0, 0.0, 0.0, 1.0]}}, title="small")
    b = written(tmp_path / "b", {"harness/hellaswag@0": {"acc": [1.0, 1.0, 0.0, 1.0]}}, title="large")
    assert str(compare(a, b)).splitlines() == [
        "first   small",
        "second  large",
        "",
        "task                 metric  n   first  second  difference       95 % interval      p  p, all  more/less",
        "harness/hellaswag@0  acc     4  0.5000  0.7500     +0.2500  -0.5456 to +1.0456  1.000   1.000        1/0",
    ]
