"""A figure with its uncertainty: means over documents, and intervals by Student's t distribution."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from puna.evaluate.example import Judged

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number of a result."""

    value: float | None
    """None where no document could be measured."""
    n: int
    """Documents that it is computed from."""
    missing: int = 0
    """Documents whose value could not be measured; they are in no figure."""
    stderr: float | None = None
    """Standard error; None where the figure is not a mean or n is below 2."""

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval by Student's t with n - 1 degrees of freedom; not cut at 0 and 1."""
        if self.value is None or self.stderr is None:
            return None
        half = student_t(CONFIDENCE, self.n - 1) * self.stderr
        return self.value - half, self.value + half


def mean(judged: Sequence[Judged], metric: str) -> Figure:
    """The mean over documents, with the standard error of a sample mean (n - 1 in the variance)."""
    return mean_of([document.values[metric] for document in judged])


def mean_of(values: Sequence[float | None]) -> Figure:
    """The mean of the values that there are."""
    found = [value for value in values if value is not None]
    missing = len(values) - len(found)
    if not found:
        return Figure(value=None, n=0, missing=missing)
    centre = math.fsum(found) / len(found)
    if len(found) < 2:
        return Figure(value=centre, n=1, missing=missing)
    variance = math.fsum((value - centre) ** 2 for value in found) / (len(found) - 1)
    return Figure(value=centre, n=len(found), missing=missing, stderr=math.sqrt(variance / len(found)))


def student_t(confidence: float, degrees: int) -> float:
    """How many standard errors an interval of this confidence reaches to each side.

    Args:
        confidence: Between 0 and 1, 0.95 for the usual one.
        degrees: Degrees of freedom, at least 1.
    """
    tail = 1 - confidence
    low, high = 0.0, 1.0
    while two_tails(high, degrees) > tail:
        low, high = high, 2 * high
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if two_tails(middle, degrees) > tail else (low, middle)
    return high


def two_tails(t: float, degrees: int) -> float:
    """The probability of a value at least `t` from 0: the regularised incomplete beta function I_x(degrees/2, 1/2)."""
    x = degrees / (degrees + t * t)
    a, b = degrees / 2, 0.5
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + (b * math.log1p(-x) if t else 0.0)
    )
    if t == 0:
        return 1.0
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function, by Lentz's method."""
    tiny = 1e-300
    c, d = 1.0, 1 / max(1 - (a + b) * x / (a + 1), tiny)
    found = d
    for m in range(1, 500):
        for factor in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / (1 + factor * d or tiny)
            c = 1 + factor / c or tiny
            found *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return found
