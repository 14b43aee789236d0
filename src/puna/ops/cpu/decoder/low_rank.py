"""Updates of linear layers as the decoder's operators read them (step.h), packed in the order of the layer's outputs.

Axes: I inputs   O outputs   P outputs as they are packed   R ranks of all parts of a layer, one behind the other
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from puna.ops.cpu.decoder.packing import BLOCK, Arena, Packed, rounded
from puna.ops.low_rank import LowRankProduct

_LANES: Final = 16
"""Numbers of a vector."""


class UpdateFields(ctypes.Structure):
    """The record `Update` of step.h, field by field."""

    _fields_ = (
        ("down", ctypes.c_void_p), ("up", ctypes.c_void_p), ("spans", ctypes.c_void_p), ("factors", ctypes.c_void_p),
        ("ranks", ctypes.c_int64),
    )  # fmt: skip


@dataclass(frozen=True)
class PackedUpdate:
    """The update of a layer by one adapter."""

    down: Tensor
    """(R / 16, I, 16), both filled up with zeros."""
    up: Tensor
    """Of each 16 packed outputs the numbers of the ranks that they have, (ranks, 16), one behind the other."""
    spans: Tensor
    """(P / 16, 3), int64: the first of these ranks, the one behind the last, and where in `up` they begin."""
    factors: Tensor | None
    """(P,); None where all are 1."""

    @property
    def ranks(self) -> int:
        """R, a multiple of 16."""
        return len(self.down) * _LANES

    @property
    def fields(self) -> UpdateFields:
        """For C++; it names the memory of this record's tensors."""
        factors = None if self.factors is None else self.factors.data_ptr()
        return UpdateFields(self.down.data_ptr(), self.up.data_ptr(), self.spans.data_ptr(), factors, self.ranks)


def pack_update(
    parts: Sequence[LowRankProduct | None], outputs: Sequence[int], layer: Packed, arena: Arena
) -> PackedUpdate | None:
    """The updates of the parts of a layer as one; None where no part has one.

    Args:
        parts: One for each matrix that was packed into the layer; None leaves that matrix alone.
        outputs: The outputs of each of these matrices.
        layer: The packed matrices.
        arena: Gives the memory.
    """
    kept = [part for part in parts if part is not None]
    if not kept:
        return None
    ranks = [0 if part is None else len(part.down_RI) for part in parts]
    starts = [sum(ranks[:number]) for number in range(len(parts))]
    down_RI = torch.zeros(rounded(sum(ranks), _LANES), rounded(layer.inputs, 32))
    down_RI[: sum(ranks), : layer.inputs] = torch.cat([part.down_RI for part in kept])
    owners_P, rows_P = _order(outputs, layer)
    up: list[Tensor] = []
    spans: list[tuple[int, int, int]] = []
    at = 0
    for first in range(0, len(owners_P), _LANES):
        owners, rows = owners_P[first : first + _LANES], rows_P[first : first + _LANES]
        here = [number for number in owners.unique().tolist() if number >= 0 and ranks[number]]
        begin, end = (starts[here[0]], starts[here[-1]] + ranks[here[-1]]) if here else (0, 0)
        up_RP = torch.zeros(end - begin, _LANES)
        for number in here:
            part = parts[number]
            assert part is not None  # noqa: S101 - it has a rank
            lanes = owners == number
            up_RP[starts[number] - begin : starts[number] - begin + ranks[number], lanes] = part.up_OR[rows[lanes]].T
        up.append(up_RP)
        spans.append((begin, end, at))
        at += up_RP.numel()
    return PackedUpdate(
        down=_placed(down_RI.unflatten(0, (-1, _LANES)).transpose(1, 2), arena),
        up=_placed(torch.cat([one.flatten() for one in up]), arena),
        spans=torch.tensor(spans), factors=_factors(parts, owners_P, rows_P, arena),
    )  # fmt: skip


def _order(outputs: Sequence[int], layer: Packed) -> tuple[Tensor, Tensor]:
    """Of each packed output the matrix that it is of, -1 where it was filled up, and its row there."""
    owners_P = torch.full((layer.blocks * BLOCK,), -1)
    rows_P = torch.zeros(layer.blocks * BLOCK, dtype=torch.long)
    if layer.gated:
        half = BLOCK // 2
        rows = torch.arange(outputs[0])
        for number in range(2):
            places = rows // half * BLOCK + number * half + rows % half
            owners_P[places], rows_P[places] = number, rows
        return owners_P, rows_P
    first = 0
    for number, count in enumerate(outputs):
        owners_P[first : first + count], rows_P[first : first + count] = number, torch.arange(count)
        first += count
    return owners_P, rows_P


def _factors(parts: Sequence[LowRankProduct | None], owners_P: Tensor, rows_P: Tensor, arena: Arena) -> Tensor | None:
    if all(part is None or part.factors_O is None for part in parts):
        return None
    factors_P = torch.ones(len(owners_P))
    for number, part in enumerate(parts):
        if part is not None and part.factors_O is not None:
            places = owners_P == number
            factors_P[places] = part.factors_O[rows_P[places]]
    return _placed(factors_P, arena)


def _placed(numbers: Tensor, arena: Arena) -> Tensor:
    """The same in an arena's memory."""
    placed = arena.take(numbers.numel() * 4).view(torch.float32)[: numbers.numel()].view(numbers.shape)
    return placed.copy_(numbers)
