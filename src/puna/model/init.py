"""Initial weights, drawn block by block, so that each device draws its own part and all parts fit together.

Every matrix is drawn in blocks of whole rows, about a million numbers each. A block's generator is seeded by the
recipe's seed, the parameter's name and the block's number, so that nothing depends on how the model is split over
devices, on the other parameters or on the device.

`scaled-normal`: normal with `init_std`; wo and w2, which write to the residual stream, get it divided by
sqrt(2 n_layers), so that the stream's variance does not grow with depth (Radford et al. 2019, section 2.3).

`openlm`: normal with 1 / sqrt(columns), cut off at three standard deviations; wo and w2 of layer l = 0, 1, ... get it
divided by sqrt(2 (l + 1)) (Zhang et al. 2019, "Improving deep transformer with depth-scaled initialization"; OpenLM's
`reset_parameters`).

The gains of norms are one.
"""

import hashlib
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from puna.config.recipe import ModelConfig
from puna.core.records import cores
from puna.model.llama import Llama
from puna.model.parts import is_update, own_parts

BLOCK = 1 << 20
"""Numbers of a block; matrices with longer rows have blocks of one row."""

_WRITES_TO_STREAM = (".attention.wo.weight", ".feed_forward.w2.weight")


@dataclass(frozen=True)
class Normal:
    """A normal distribution around zero."""

    std: float
    """Its standard deviation before it is cut off."""
    bound: float = math.inf
    """Standard deviations at which it is cut off."""


@torch.no_grad()
def init_weights(model: Llama, seed: int) -> None:
    """Fill every parameter, or this device's part of it, in place; the same seed gives the same weights everywhere.

    Updates that learn beside frozen weights are left to `puna.model.lora.start`.
    """
    for part in own_parts(model):
        if is_update(part.name):
            continue
        if len(part.shape) < 2:
            part.tensor.fill_(0.0 if part.name.endswith(".bias") else 1.0)
        else:
            normal = distribution(model.config, part.name, part.shape[1])
            draw(part.tensor, seed, part.name, part.shape, part.offset, normal)


@dataclass(frozen=True)
class DrawnWeights:
    """The matrices that `init_weights` draws, of which any part can be had."""

    config: ModelConfig
    seed: int

    def rectangle(self, name: str, offset: Sequence[int], shape: Sequence[int]) -> Tensor:
        """The part of a matrix from `offset` on, of `shape` along each axis, in float32."""
        part_RC = torch.empty(tuple(shape))
        with torch.device("meta"):
            whole = Llama(self.config).get_parameter(name).shape
        draw(part_RC, self.seed, name, whole, offset, distribution(self.config, name, whole[1]))
        return part_RC


def distribution(config: ModelConfig, name: str, columns: int) -> Normal:
    """The distribution of the matrix with this name and number of columns."""
    writes = name.endswith(_WRITES_TO_STREAM)
    if config.init == "scaled-normal":
        return Normal(config.init_std / math.sqrt(2 * config.n_layers if writes else 1))
    depth = int(name.split(".")[1]) + 1 if writes else 0
    return Normal(1 / math.sqrt(columns * (2 * depth if writes else 1)), bound=3.0)


def draw(part_RC: Tensor, seed: int, name: str, shape: Sequence[int], offset: Sequence[int], normal: Normal) -> None:
    """Fill one rectangle of a matrix in place; only the blocks that it touches are drawn.

    Args:
        part_RC: The rectangle, on any device and of any dtype.
        seed: The recipe's seed.
        name: The matrix's name in the model.
        shape: Rows and columns of the whole matrix.
        offset: Row and column of the whole matrix at which the rectangle begins.
        normal: What to draw from.
    """
    (rows, columns), (top, left) = shape, offset
    height, width = part_RC.shape
    if not part_RC.numel():
        return
    step = max(1, BLOCK // columns)

    def drawn(number: int) -> tuple[int, Tensor]:
        start = number * step
        return start, _block(f"{seed} {name} {number}", min(step, rows - start), columns, normal)

    # NumPy draws without Python's lock, so all cores work: 7B numbers take one core two minutes.
    numbers, at_once = range(top // step, -(-(top + height) // step)), cores()
    with ThreadPoolExecutor(at_once) as threads:
        for index in range(0, len(numbers), at_once):
            for start, block_RC in threads.map(drawn, numbers[index : index + at_once]):
                first, last = max(top, start), min(top + height, start + len(block_RC))
                part_RC[first - top : last - top].copy_(block_RC[first - start : last - start, left : left + width])


def _block(key: str, rows: int, columns: int, normal: Normal) -> Tensor:
    # torch's CPU generator keeps 32 bits of its seed: large models have enough blocks for two to be equal.
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(key.encode()).digest())))
    values = generator.standard_normal(rows * columns, dtype=np.float32)
    if math.isfinite(normal.bound):
        while len(outside := np.flatnonzero(np.abs(values) > normal.bound)):
            values[outside] = generator.standard_normal(len(outside), dtype=np.float32)
    values *= np.float32(normal.std)
    return torch.from_numpy(values).view(rows, columns)
