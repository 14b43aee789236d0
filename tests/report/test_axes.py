"""Axes: round ticks, both ends have one, no value lies beyond them."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.report.axes import round_step, tokens_axis, values_axis


@pytest.mark.parametrize(
    ("end", "labels"),
    [
        (399_360, ["0", "100k", "200k", "300k", "399k"]),
        (410_000, ["0", "200k", "410k"]),
        (6144, ["0", "2k", "4k", "6.14k"]),
        (1, ["0", "0.5", "1"]),
        (1_000_000_000_000, ["0", "500B", "1T"]),
    ],
)
def test_last_tick_is_the_end_and_no_other_is_near_it(end: int, labels: list[str]):
    axis = tokens_axis(end)
    assert axis["ticktext"] == labels
    assert axis["range"] == [0, pytest.approx(1.03 * end)]
    assert axis["tickvals"][-1] == end


@given(st.integers(1, 10**15))
def test_ticks_of_tokens_rise_and_stay_apart(end: int):
    ticks = tokens_axis(end)["tickvals"]
    gaps = [later - earlier for earlier, later in pairwise(ticks)]
    assert 2 <= len(ticks) <= 6
    assert min(gaps) > 0.4 * max(gaps)


@given(st.lists(st.none() | st.floats(-1e12, 1e12, allow_subnormal=False), min_size=1), st.booleans())
def test_no_value_lies_beyond_the_ends_and_both_are_ticks(values: list[float | None], from_zero: bool):
    axis = values_axis(values, from_zero=from_zero)
    known = [value for value in values if value is not None]
    if not known:
        assert axis == {}
        return
    (low, high), step = axis["range"], axis["dtick"]
    slack = 1e-6 * (abs(low) + abs(high))
    assert low - slack <= min(known)
    assert max(known) <= high + slack
    assert not from_zero or low <= 0
    steps = (high - low) / step
    assert steps == pytest.approx(round(steps))
    assert 1 <= round(steps) <= 7


def test_values_that_floats_cannot_tell_apart_or_subtract_leave_the_axis_to_the_browser():
    assert values_axis([-1.7e308, 1.7e308], from_zero=False) == {}
    assert values_axis([3.0], from_zero=False)["range"][0] <= 3.0
    assert values_axis([0.0], from_zero=True)["range"] == [0, pytest.approx(0.2)]


@given(st.floats(1e-12, 1e15), st.integers(1, 10))
def test_step_is_the_smallest_round_one_that_makes_so_few_steps(span: float, parts: int):
    step = round_step(span, parts)
    digits = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert any(digits == pytest.approx(one) for one in (1, 2, 5, 10))
    assert span / step <= parts * (1 + 1e-6)
    assert span / (step / 2.6) > parts
