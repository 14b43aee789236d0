"""Weights as the decoder's operators read them: blocks of 64 outputs side by side (layout.h), packed in one pass.

Axes: N outputs   K inputs   G groups of 32 inputs
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from puna.core.errors import GenerateError
from puna.ops.quantized import GROUP, Blocks, WeightKind

BLOCK: Final = 64
"""Outputs of a block."""

KINDS: Final = tuple(WeightKind)
"""In the order in which layout.h numbers them."""

_STORED: Final = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
_BLOCKS: Final = 3
_HUGE: Final = 2**21
"""Bytes of a huge page on x86-64."""
_PIECE: Final = 16 * _HUGE


def rounded(x: int, step: int) -> int:
    """The next multiple of `step`."""
    return -(-x // step) * step


@dataclass(frozen=True)
class Packed:
    """A matrix in blocks."""

    memory: Tensor
    """uint8, as long as it is."""
    kind: WeightKind
    outputs: int
    """Numbers that come out: those of the matrix, or of its gates where it has two halves."""
    inputs: int
    """Numbers that go in."""
    gated: bool
    """Whether a block is 32 gates and their 32 values."""

    @property
    def blocks(self) -> int:
        """How many blocks of 64 outputs there are."""
        return -(-self.outputs // (BLOCK // 2 if self.gated else BLOCK))


class Arena:
    """Memory for packed matrices, one behind the other on huge pages: a step reads it from front to back.

    A page of 4 KiB costs a look-up of its address in tables for every 4 KiB that are read.
    """

    def __init__(self) -> None:
        self._piece = torch.empty(0, dtype=torch.uint8)

    def take(self, n_bytes: int) -> Tensor:
        """Uninitialised bytes that begin at a cache line and live as long as the tensor does."""
        n_bytes = rounded(n_bytes, 64)
        if n_bytes > len(self._piece):
            memory = torch.empty(max(_PIECE, rounded(n_bytes, _HUGE)) + _HUGE, dtype=torch.uint8)
            self._piece = memory[-memory.data_ptr() % _HUGE :]
            _ask_for_huge_pages(self._piece)
        taken, self._piece = self._piece[:n_bytes], self._piece[n_bytes:]
        return taken


class _Part(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p), ("scales", ctypes.c_void_p), ("stored", ctypes.c_int64), ("outputs", ctypes.c_int64)
    )  # fmt: skip


def pack(
    library: ctypes.CDLL,
    parts: Sequence[Tensor | Blocks],
    kind: WeightKind,
    arena: Arena,
    *,
    gated: bool = False,
    name: str = "a matrix",
) -> Packed:
    """One matrix of several with the same inputs, their outputs one after the other.

    Args:
        library: From `open_kernels`.
        parts: (N, K) each, in float32, bfloat16 or float16; blocks where `kind` is INT8, or INT4 and they are INT4 too.
        kind: What they become; floats are quantized as `puna.ops.quantized.quantize` does it.
        arena: Gives the memory.
        gated: The parts are gates and their values, of which silu(gate) x value comes out.
        name: The matrix, for the error.

    Raises:
        GenerateError: It is to be quantized and has a weight that is not finite, or too large for float16 scales.
    """
    given = [part.values_NK if isinstance(part, Blocks) else part for part in parts]
    inputs = given[0].shape[1]
    outputs = given[0].shape[0] if gated else sum(len(values_NK) for values_NK in given)
    kept = [_stored(part) for part in parts]
    n_blocks = Packed(given[0], kind, outputs, inputs, gated).blocks
    memory = arena.take(n_blocks * -(-inputs // GROUP) * _group_bytes(kind))
    damaged = library.puna_decoder_pack(
        KINDS.index(kind), (_Part * len(kept))(*(part for part, _ in kept)), len(kept), int(gated), n_blocks, inputs,
        torch.get_num_threads(), memory.data_ptr(),
    )  # fmt: skip
    if damaged:
        raise GenerateError(
            f"{name}: holds a weight that is not a finite number, or too large for float16 scales, so it cannot be "
            "quantized",
            hint="load it with weights as stored",
        )
    return Packed(memory, kind, outputs, inputs, gated)


def _stored(part: Tensor | Blocks) -> tuple[_Part, tuple[Tensor, ...]]:
    """A part for C++, and the tensors whose memory it names."""
    if isinstance(part, Blocks):
        values_NK, scales_NG = part.values_NK.contiguous(), part.scales_NG.contiguous()
        kept = values_NK, scales_NG
        return _Part(values_NK.data_ptr(), scales_NG.data_ptr(), _BLOCKS, len(values_NK)), kept
    weight_NK = part.contiguous()
    return _Part(weight_NK.data_ptr(), None, _STORED[weight_NK.dtype], len(weight_NK)), (weight_NK,)


def _group_bytes(kind: WeightKind) -> int:
    """Bytes of 32 inputs of a block (layout.h)."""
    n_values = GROUP * BLOCK
    match kind:
        case WeightKind.FLOAT32:
            return n_values * 4
        case WeightKind.BFLOAT16:
            return n_values * 2
        case WeightKind.INT8:
            return n_values + BLOCK * 2
        case WeightKind.INT4:
            return n_values // 2 + BLOCK * 2


def _ask_for_huge_pages(memory: Tensor) -> None:
    """Where the system can; without them reading is slower and nothing else changes."""
    advise, advice = getattr(ctypes.CDLL(None), "madvise", None), 14  # MADV_HUGEPAGE of Linux
    if advise is not None:
        whole = len(memory) // _HUGE * _HUGE
        advise(ctypes.c_void_p(memory.data_ptr()), ctypes.c_size_t(whole), advice)
