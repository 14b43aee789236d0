r"""Whether two expressions in LaTeX are equal, found by computing both.

An expression is computed with random complex numbers for its letters; two are equal if they come to the same at several
such points, of which one is enough to tell different ones apart. Rational numbers are computed exactly. Nothing is
executed and nothing grows without bound, whatever a model writes: long texts and large powers are not computed.

What is understood, and that all letters are unknowns, \pi, e and i among them, is as with SymPy's `parse_latex`, by
which Minerva's answers and those of lm-evaluation-harness's `minerva_math` are compared: no lists, intervals and
relations.
"""

import cmath
import hashlib
import math
import re
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import TypeAlias

Value: TypeAlias = Fraction | complex

LONGEST = 300
"""Characters of an expression at most."""
_POINTS = 6
_CLOSE = 1e-9
"""Relative difference of what counts as the same: far more than rounding makes, far less than chance."""
_LARGEST_POWER = 4096
"""Bits of an exact power at most."""
_LARGEST_FACTORIAL = 500
_TOKEN = re.compile(r"\\left|\\right|\\[,;:! ]|(\d+(?:,\d{3})*(?:\.\d+)?|\.\d+|\\[a-zA-Z]+|\\.|\S)|\s+")

_FUNCTIONS: dict[str, Callable[[complex], complex]] = {
    **{f"\\{name}": getattr(cmath, name) for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "exp")},
    **{f"\\arc{name}": getattr(cmath, f"a{name}") for name in ("sin", "cos", "tan")},
    "\\csc": lambda x: 1 / cmath.sin(x), "\\sec": lambda x: 1 / cmath.cos(x), "\\cot": lambda x: 1 / cmath.tan(x),
    "\\ln": cmath.log, "\\log": cmath.log, "\\lg": cmath.log10,
}  # fmt: skip
_OPENING = {"(": ")", "[": "]", "{": "}", r"\{": r"\}", r"\lfloor": r"\rfloor", r"\lceil": r"\rceil"}
_TIMES = {"*", r"\cdot", r"\times"}
_OVER = {"/", r"\div"}
_NOT_LETTERS = {
    r"\le", r"\leq", r"\ge", r"\geq", r"\neq", r"\ne", r"\lt", r"\gt", r"\pm", r"\mp", r"\int", r"\sum", r"\prod",
    r"\lim", r"\to", r"\infty", r"\text", r"\begin", r"\end", r"\mathbf", r"\mathrm", r"\cup", r"\cap", r"\in",
    r"\rfloor", r"\rceil",
}  # fmt: skip


class NotUnderstoodError(ValueError):
    """A text that is not an expression of numbers and letters, or is too large to compute."""


def equal_expressions(one: str, other: str) -> bool:
    """Whether two texts are the same, or expressions that are equal; what is not understood equals only itself."""
    if one == other:
        return bool(one)
    try:
        return all(_close(a, b) for a, b in zip(values(one), values(other), strict=True))
    except NotUnderstoodError:
        return False


@lru_cache(maxsize=4096)
def values(text: str) -> tuple[Value, ...]:
    """What an expression comes to at each point.

    Raises:
        NotUnderstoodError: It is not an expression, not defined there, or too large.
    """
    if len(text) > LONGEST:
        raise NotUnderstoodError(text)
    tokens = [token[1] for token in _TOKEN.finditer(text) if token[1]]
    try:
        return tuple(_Reader(tokens, point).all() for point in range(_POINTS))
    except (ArithmeticError, ValueError, IndexError, RecursionError) as error:
        raise NotUnderstoodError(text) from error


def _close(one: Value, other: Value) -> bool:
    if isinstance(one, Fraction) and isinstance(other, Fraction):
        return one == other
    try:
        a, b = complex(one), complex(other)
    except OverflowError:
        return False
    return abs(a - b) <= _CLOSE * max(abs(a), abs(b)) < math.inf


class _Reader:
    """Reads tokens from left to right and computes on the way; each method reads one level of binding."""

    def __init__(self, tokens: list[str], point: int) -> None:
        self._tokens = tokens
        self._at = 0
        self._point = point

    def all(self) -> Value:
        value = self._sum()
        if self._next() is not None:
            raise NotUnderstoodError(self._next())
        return value

    def _next(self) -> str | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _take(self, expected: str | None = None) -> str:
        token = self._tokens[self._at]
        if expected is not None and token != expected:
            raise NotUnderstoodError(token)
        self._at += 1
        return token

    def _sum(self) -> Value:
        value = self._product()
        while self._next() in {"+", "-"}:
            value = value + self._product() if self._take() == "+" else value - self._product()
        return value

    def _product(self) -> Value:
        value = self._signed()
        while self._next() in _TIMES | _OVER:
            value = value * self._signed() if self._take() in _TIMES else value / self._signed()
        return value

    def _signed(self) -> Value:
        if self._next() in {"+", "-"}:
            return self._signed() if self._take() == "+" else -self._signed()
        value = self._power()
        while self._begins():
            value = value * self._power()
        return value

    def _begins(self) -> bool:
        """Whether a factor follows that is written without a sign before it."""
        token = self._next()
        if token is None or token in _NOT_LETTERS or token in _TIMES | _OVER:
            return False
        return token in _OPENING or token[0].isalnum() or token[0] == "." or (token[0] == "\\" and len(token) > 2)

    def _power(self) -> Value:
        value = self._one()
        while self._next() == "!":
            self._take()
            value = _factorial(value)
        if self._next() == "^":
            self._take()
            value = _raised(value, self._argument())
        return value

    def _argument(self) -> Value:
        r"""What follows ^, \frac and \sqrt: a group in braces, or one thing, of a number its first digit."""
        token = self._next()
        if token is not None and token[0].isdigit() and len(token) > 1:
            self._tokens[self._at : self._at + 1] = [token[0], token[1:]]
        return self._one()

    def _one(self) -> Value:
        token = self._take()
        if token in _OPENING:
            value = self._sum()
            self._take(_OPENING[token])
            return _rounded(value, token)
        if token == "|":  # noqa: S105 - a sign
            value = self._sum()
            self._take("|")
            return abs(value)
        if token[0].isdigit() or token[0] == ".":
            return Fraction(token.replace(",", ""))
        if token in {r"\frac", r"\dfrac", r"\tfrac"}:
            return self._argument() / self._argument()
        if token in {r"\binom", r"\dbinom", r"\tbinom"}:
            return _choose(self._argument(), self._argument())
        if token == r"\sqrt":  # noqa: S105 - a sign
            return self._root()
        if token in _FUNCTIONS:
            return self._function(token)
        if token[0].isalpha() or (token[0] == "\\" and len(token) > 2 and token not in _NOT_LETTERS):
            return self._letter(token)
        raise NotUnderstoodError(token)

    def _root(self) -> Value:
        index: Value = Fraction(2)
        if self._next() == "[":
            self._take()
            index = self._sum()
            self._take("]")
        return _raised(self._argument(), 1 / index)

    def _function(self, name: str) -> Value:
        power: Value = Fraction(1)
        base: Value | None = None
        while self._next() in {"^", "_"}:
            if self._take() == "^":
                power = self._argument()
            else:
                base = self._argument()
        value = _FUNCTIONS[name](complex(self._power()))
        return _raised(value if base is None else value / cmath.log(complex(base)), power)

    def _letter(self, name: str) -> Value:
        if self._next() == "_":
            self._take()
            begin = self._at
            self._argument()
            name += "_" + "".join(self._tokens[begin : self._at])
        digest = hashlib.sha256(f"{self._point} {name}".encode()).digest()
        real, imaginary = (int.from_bytes(part) / 2**63 - 1 for part in (digest[:8], digest[8:16]))
        return complex(3 * real, 3 * imaginary)


def _raised(base: Value, power: Value) -> Value:
    """A power, exactly where it is rational and of bounded size."""
    if isinstance(base, Fraction) and isinstance(power, Fraction):
        exact = _root_of(base, power.denominator)
        bits = max(base.numerator.bit_length(), base.denominator.bit_length()) * abs(power.numerator)
        if exact is not None and bits <= _LARGEST_POWER:
            return exact**power.numerator
    return complex(base) ** complex(power)


def _root_of(base: Fraction, index: int) -> Fraction | None:
    """The rational root of a number that is not negative, or None."""
    if index == 1:
        return base
    if base < 0 or index > _LARGEST_POWER:
        return None
    try:
        above, below = (round(number ** (1 / index)) for number in (base.numerator, base.denominator))
    except OverflowError:
        return None
    exact = above**index == base.numerator and below**index == base.denominator
    return Fraction(above, below) if exact else None


def _rounded(value: Value, opening: str) -> Value:
    if opening not in {r"\lfloor", r"\lceil"}:
        return value
    if not isinstance(value, Fraction):
        raise NotUnderstoodError(opening)
    return Fraction(math.floor(value) if opening == r"\lfloor" else math.ceil(value))


def _whole(value: Value) -> int:
    if not isinstance(value, Fraction) or value.denominator != 1 or not 0 <= value <= _LARGEST_FACTORIAL:
        raise NotUnderstoodError(str(value))
    return value.numerator


def _factorial(value: Value) -> Value:
    return Fraction(math.factorial(_whole(value)))


def _choose(above: Value, below: Value) -> Value:
    return Fraction(math.comb(_whole(above), _whole(below)))
