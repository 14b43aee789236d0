"""Weights as integers of 8 or 4 bits with a scale for every 32 of them: the blocks of GGUF's Q8_0 and Q4_0.

A weight is value x scale. Groups lie along the inputs of a matrix, so that a product over one group is a product of
integers. Scales are float16, as GGUF has them.

Axes: N outputs   K inputs   G groups of 32 inputs, the last one shorter where 32 does not divide K
"""

from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from puna.core.errors import GenerateError

GROUP = 32
"""Inputs that share a scale: the block of GGUF's Q8_0 and Q4_0."""

_SLAB_VALUES = 2**18
"""Weights that are quantized at a time: a megabyte of float32 and its intermediate results stay in the cache."""

_DIVISORS = (-8.0, -8.7, -8.35, -7.6, 7.0, 7.35)
"""What the weight of largest magnitude is divided by for the scales that INT4 tries: -8 is GGUF's, which sends it to
the end of the range that reaches further; beyond it, that weight is cut in favour of the others."""


class WeightKind(StrEnum):
    """How a matrix is kept in memory."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    INT8 = "int8"
    INT4 = "int4"

    @property
    def is_quantized(self) -> bool:
        """Whether weights are integers with scales."""
        return self in (WeightKind.INT8, WeightKind.INT4)


@dataclass(frozen=True)
class Blocks:
    """A matrix quantized in groups of 32 along its inputs; `dequantize` gives its weights."""

    kind: WeightKind
    """INT8 or INT4, never a kind of floats."""
    values_NK: Tensor
    """int8; -8 to 7 where the kind is INT4."""
    scales_NG: Tensor
    """float16, of any sign; (N, 0) for a matrix without inputs."""


def quantize(weight_NK: Tensor, kind: WeightKind, *, name: str = "a matrix") -> Blocks:
    """The blocks closest to a matrix.

    INT8: the largest magnitude of a group becomes 127, as in GGUF, but its scale is rounded to float16 before the
    values are, so that they fit the scale that is kept. INT4: of a few scales, the one with the least squared error.
    Groups too small for float16's normal numbers take the next larger scale, so that no value is cut.

    Args:
        weight_NK: In any floating dtype.
        kind: INT8 or INT4.
        name: The matrix, for the error.

    Raises:
        GenerateError: A weight is not finite, or a scale is beyond float16.
    """
    n, k = weight_NK.shape
    values_NK = torch.empty(n, k, dtype=torch.int8)
    scales_NG = torch.empty(n, -(-k // GROUP), dtype=torch.float16)
    step = max(1, _SLAB_VALUES // max(k, 1))
    for first in range(0, n, step):
        rows = slice(first, first + step)
        groups_NGS = _groups(weight_NK[rows].float())
        if not groups_NGS.isfinite().all():
            raise GenerateError(f"{name}: holds a weight that is not a finite number, so it cannot be quantized")
        found_NGS, scales_NG[rows] = (_int8 if kind == WeightKind.INT8 else _int4)(groups_NGS)
        values_NK[rows] = found_NGS.flatten(1)[:, :k]
    if not scales_NG.isfinite().all():
        raise GenerateError(f"{name}: its weights are too large for float16 scales, so it cannot be quantized")
    return Blocks(kind, values_NK, scales_NG)


def dequantize(blocks: Blocks) -> Tensor:
    """The weights, (N, K) in float32: each the product of two numbers, rounded once."""
    k = blocks.values_NK.shape[1]
    scales_NK = blocks.scales_NG.float().repeat_interleave(GROUP, dim=1)[:, :k]
    return blocks.values_NK.float() * scales_NK


def _groups(weight_NK: Tensor) -> Tensor:
    """(N, G, 32), filled up with zeros."""
    missing = -weight_NK.shape[1] % GROUP
    return torch.nn.functional.pad(weight_NK, (0, missing)).unflatten(1, (-1, GROUP))


def _int8(groups_NGS: Tensor) -> tuple[Tensor, Tensor]:
    largest_NG = groups_NGS.abs().amax(2)
    scales_NG = _not_cut(largest_NG / 127, largest_NG, 127)
    return _rounded(groups_NGS, scales_NG, -127, 127), scales_NG


def _int4(groups_NGS: Tensor) -> tuple[Tensor, Tensor]:
    largest_NG = groups_NGS.gather(2, groups_NGS.abs().argmax(2, keepdim=True))[..., 0]
    best: tuple[Tensor, Tensor, Tensor] | None = None
    for divisor in _DIVISORS:
        scales_NG = _not_cut(largest_NG / divisor, largest_NG.abs(), 7)
        values_NGS = _rounded(groups_NGS, scales_NG, -8, 7)
        error_NG = _sum_of_squares(values_NGS * scales_NG.float()[..., None] - groups_NGS)
        if best is None:
            best = values_NGS, scales_NG, error_NG
            continue
        # A scale beyond float16 has an error that is not a number, and is not better.
        better_NG = error_NG < best[2]
        best = (
            torch.where(better_NG[..., None], values_NGS, best[0]),
            torch.where(better_NG, scales_NG, best[1]),
            torch.where(better_NG, error_NG, best[2]),
        )
    assert best is not None  # noqa: S101 - there is a divisor
    return best[0], best[1]


def _not_cut(scales_NG: Tensor, largest_NG: Tensor, top: int) -> Tensor:
    """Scales as float16; a subnormal one, rounded to less than largest / top, becomes the next one away from zero."""
    rounded_NG = scales_NG.half()
    short_NG = (rounded_NG.abs() < 2.0**-14) & (rounded_NG.float().abs() * top < largest_NG)
    return (rounded_NG.view(torch.int16) + short_NG.short()).view(torch.float16)


def _rounded(groups_NGS: Tensor, scales_NG: Tensor, low: int, high: int) -> Tensor:
    """Values in float32; 0 where the scale is 0."""
    inverse_NG = torch.where(scales_NG == 0, 0.0, 1.0 / scales_NG.float())
    return (groups_NGS * inverse_NG[..., None]).round().clamp(low, high)


def _sum_of_squares(x_NGS: Tensor) -> Tensor:
    """By halves, which is an order that the sum has on every machine and in C++ too."""
    x_NGS = x_NGS * x_NGS
    while x_NGS.shape[2] > 1:
        half = x_NGS.shape[2] // 2
        x_NGS = x_NGS[..., :half] + x_NGS[..., half:]
    return x_NGS[..., 0]
