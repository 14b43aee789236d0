"""Means, standard errors and intervals against other implementations and published tables."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.evaluate.example import Answer, Example, Judged, Read
from puna.evaluate.figure import Figure, mean, mean_of, student_t

# Student (1908) as printed in NIST/SEMATECH e-Handbook of Statistical Methods, section 1.3.6.7.2, the column 0.975.
NIST = {1: 12.706, 2: 4.303, 3: 3.182, 5: 2.571, 10: 2.228, 30: 2.042, 100: 1.984}


@pytest.mark.parametrize("degrees", sorted(NIST))
def test_quantiles_are_those_of_the_published_table(degrees: int) -> None:
    assert student_t(0.95, degrees) == pytest.approx(NIST[degrees], abs=5e-4)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99, 0.999])
@pytest.mark.parametrize("degrees", [1, 2, 3, 7, 42, 499, 14041])
def test_quantiles_are_those_of_scipy(confidence: float, degrees: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert student_t(confidence, degrees) == pytest.approx(stats.t.ppf((1 + confidence) / 2, degrees), rel=1e-9)


def test_many_degrees_approach_the_normal_distribution() -> None:
    assert student_t(0.95, 10**7) == pytest.approx(statistics.NormalDist().inv_cdf(0.975), rel=1e-6)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=50))
def test_the_standard_error_is_that_of_a_sample_mean(values: list[float]) -> None:
    figure = mean_of(values)
    assert figure.value == pytest.approx(statistics.fmean(values), abs=1e-9)
    assert figure.stderr == pytest.approx(statistics.stdev(values) / math.sqrt(len(values)), abs=1e-6, rel=1e-9)
    assert figure.interval is not None
    assert figure.interval[0] <= figure.value <= figure.interval[1]  # type: ignore[operator]


def test_an_accuracy_has_the_standard_error_that_lm_eval_prints() -> None:
    # lm-evaluation-harness 0.4.13, mean_stderr: the sample standard deviation over the root of n.
    figure = mean_of([1.0] * 30 + [0.0] * 70)
    assert figure.stderr == pytest.approx(math.sqrt(0.3 * 0.7 / 99))


def test_values_that_could_not_be_measured_are_counted_and_in_no_figure() -> None:
    assert mean_of([1.0, None, 0.0, None]) == Figure(value=0.5, n=2, missing=2, stderr=0.5)
    assert mean_of([None]) == Figure(value=None, n=0, missing=1)
    assert mean_of([]) == Figure(value=None, n=0)


def test_one_value_has_no_interval() -> None:
    assert mean_of([0.25]) == Figure(value=0.25, n=1)
    assert mean_of([0.25]).interval is None


def test_a_mean_is_of_the_metric_that_is_named() -> None:
    judged = [
        Judged(example=Example(id=str(at), ask=Read(texts=())), answer=Answer(), values={"a": at, "b": None})
        for at in range(3)
    ]
    assert mean(judged, "a").value == 1
    assert mean(judged, "b").missing == 3
