"""Weights to GGUF's blocks and back, in slabs of rows on all of torch's threads.

Blocks of 32 values and all dequantization are the `gguf` package's, whose bits are llama.cpp's; quantization to
K-quants, which that package lacks, is `puna.formats.gguf.k_quants`.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from puna.formats.gguf.k_quants import QUANTIZERS
from puna.formats.gguf.types import TYPES
from puna.ops.quantized import Blocks, WeightKind

HELD = {"Q8_0": WeightKind.INT8, "Q4_0": WeightKind.INT4}
"""The types whose blocks an engine computes with as they are."""

_SLAB_VALUES = 2**17
"""Values per thread at a time: half a megabyte of float32 and its intermediate results stay in the cache."""


def quantize(w: Tensor, kind: str) -> npt.NDArray[np.uint8]:
    """Blocks of a matrix, (rows, bytes of a row).

    Args:
        w: (rows, columns) in any floating dtype; finite, and columns a multiple of the type's block.
        kind: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K or Q6_K.
    """
    import gguf

    out = np.empty((w.shape[0], TYPES[kind].row_bytes(w.shape[1])), np.uint8)
    own = QUANTIZERS.get(kind)

    def work(rows: slice) -> None:
        values = w[rows].float().numpy()
        with np.errstate(all="ignore"):  # the inverse of a scale close to zero is infinite; the scale becomes 0
            out[rows] = own(values) if own else gguf.quants.quantize(values, gguf.GGMLQuantizationType[kind])

    _in_slabs(work, w.shape[0], w.shape[1])
    return out


def dequantize(raw: npt.NDArray[np.uint8], kind: str) -> Tensor:
    """The matrix of the blocks' values, (rows, columns) in float32.

    Args:
        raw: (rows, bytes of a row).
        kind: The blocks' type.
    """
    import gguf

    columns = raw.shape[1] // TYPES[kind].n_bytes * TYPES[kind].values
    out = torch.empty(raw.shape[0], columns)
    whole = out.numpy()

    def work(rows: slice) -> None:
        # A damaged scale may be infinite; the check of the whole model reports it, not numpy.
        with np.errstate(all="ignore"):
            whole[rows] = gguf.quants.dequantize(raw[rows], gguf.GGMLQuantizationType[kind])

    _in_slabs(work, raw.shape[0], columns)
    return out


def held_blocks(raw: npt.NDArray[np.uint8], kind: str) -> Blocks:
    """Blocks of 32 values as integers and scales, no bit changed: `puna.ops.quantized.dequantize` gives the weights.

    A block is a float16 scale, then 32 bytes (Q8_0); or 16 bytes (Q4_0), whose low halves are the first 16 values and
    whose high halves the last 16, each plus 8 (ggml-common.h).

    Args:
        raw: (rows, bytes of a row).
        kind: One of `HELD`.
    """
    blocks_NGB = torch.from_numpy(raw).unflatten(1, (-1, TYPES[kind].n_bytes))
    scales_NG = blocks_NGB[..., :2].contiguous().view(torch.float16)[..., 0]
    if HELD[kind] == WeightKind.INT8:
        return Blocks(HELD[kind], blocks_NGB[..., 2:].flatten(1).view(torch.int8), scales_NG)
    packed_NGB = blocks_NGB[..., 2:]
    values_NGB = torch.cat((packed_NGB & 15, packed_NGB >> 4), dim=2).view(torch.int8).sub_(8)
    return Blocks(HELD[kind], values_NGB.flatten(1), scales_NG)


def _in_slabs(work: Callable[[slice], None], rows: int, columns: int) -> None:
    step = max(1, _SLAB_VALUES // columns)
    slabs = [slice(first, first + step) for first in range(0, rows, step)]
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for _ in pool.map(work, slabs):
            pass
