"""Axes whose ticks are round numbers, and on which the first and the last value have one."""

import math
from collections.abc import Iterable
from typing import Any

from puna.core.units import format_count

_ROUND = (1.0, 2.0, 5.0, 10.0)
_NEAR = 0.45
"""A round tick that is nearer than this part of a step to the last one is left out, so that labels stay apart."""
_ROOM = 0.03
"""Room beyond the last value, as a part of the axis: marks at the end are whole and its tick has its label."""
_SAME = 1e-9
"""Values that differ by less than this part of them are drawn as equal: their ticks would be lost in rounding."""


def tokens_axis(end: int, parts: int = 4) -> dict[str, Any]:
    """Range and ticks for plotly from 0 to `end` tokens: round numbers, and the end itself."""
    if end <= 0:
        return {}
    step = round_step(end, parts)
    ticks = [number * step for number in range(math.ceil(end / step - _NEAR))]
    ticks.append(float(end))
    return {"range": [0, end * (1 + _ROOM)], "tickvals": ticks, "ticktext": [format_count(tick) for tick in ticks]}


def values_axis(values: Iterable[float | None], *, from_zero: bool, parts: int = 5) -> dict[str, Any]:
    """Range and ticks for plotly that hold values: both ends are round numbers beyond which no value lies."""
    known = [value for value in values if value is not None]
    if not known:
        return {}
    low, high = (min(0.0, *known) if from_zero else min(known)), max(known)
    # The difference of two floats need not be one.
    span = high / parts - low / parts
    if not math.isfinite(high * 2) or not math.isfinite(low * 2):
        return {}
    if span * parts <= _SAME * max(abs(low), abs(high)):
        span = (abs(high) or 1.0) / parts
    step = round_step(span * parts, parts)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    return {"range": [first * step, last * step], "tick0": first * step, "dtick": step}


def round_step(span: float, parts: int) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that divides `span` into at most `parts` steps."""
    rough = span / parts
    power = 10.0 ** math.floor(math.log10(rough))
    return next((factor * power for factor in _ROUND if factor * power >= rough * (1 - 1e-9)), 10 * power)
