"""The moving average against its definition."""

import pytest

from puna.report.charts import smooth


def test_moving_average_equals_its_weighted_mean():
    values = [5.0, 3.0, 4.0, 1.0, 0.5]
    for count in range(1, len(values) + 1):
        weights = [0.9 ** (count - 1 - index) for index in range(count)]
        expected = sum(w * v for w, v in zip(weights, values[:count], strict=True)) / sum(weights)
        assert smooth(values[:count])[-1] == pytest.approx(expected)


def test_constant_stays_constant():
    assert smooth([2.0] * 5) == pytest.approx([2.0] * 5)
