"""A process's part of a decoder: its heads and its part of the feed-forward width (Shoeybi et al. 2019).

A part of a decoder is itself a decoder, with fewer heads, a narrower feed-forward network and the same residual stream.
So any runner computes it, and the outputs of wo and w2 are summed over the processes. Rows of wq, wk, wv, w1 and w3 and
columns of wo and w2 are split; the embedding, the norms and the output layer are whole everywhere.
"""

import torch
import torch.distributed as dist
from torch import Tensor

from puna.config.recipe import ModelConfig
from puna.core.errors import GenerateError
from puna.infer.source import Source
from puna.model.llama import Llama
from puna.ops.low_rank import LowRankProduct
from puna.ops.quantized import GROUP, Blocks

_AXES = {"wq": 0, "wk": 0, "wv": 0, "w1": 0, "w3": 0, "wo": 1, "w2": 1}
"""Along which a matrix is split."""


def part_of(config: ModelConfig, size: int) -> ModelConfig:
    """The decoder that each of `size` processes computes.

    Raises:
        GenerateError: The heads or the feed-forward width are not multiples of `size`, or queries and keys are
            normalised over all heads.
    """
    if config.qk_norm:
        raise GenerateError(
            "the model normalises queries and keys over all heads (qk_norm), so they cannot be split over processes"
        )
    names = ("n_heads", "n_kv_heads", "ffn_dim")
    for name in names:
        if getattr(config, name) % size:
            raise GenerateError(
                f"{name} = {getattr(config, name)} is not a multiple of the {size} processes",
                hint="start fewer: torchrun --nproc-per-node",
            )
    return config.model_copy(update={name: getattr(config, name) // size for name in names})


class PartSource:
    """This process's part of a model's weights: implements `Source`.

    Args:
        source: The whole model.
        group: The processes that share it; None is all that there are.

    Raises:
        GenerateError: The model cannot be split over them.
    """

    def __init__(self, source: Source, group: dist.ProcessGroup | None = None) -> None:
        self.source, self._group = source, group
        self.rank = dist.get_rank(group)
        """This process's number."""
        self.size = dist.get_world_size(group)
        """How many processes share the model."""
        self.config = part_of(source.config, self.size)

    def tensor(self, name: str) -> Tensor:
        """This process's part of a parameter, or all of it."""
        return self._part(name, self.source.tensor(name))

    def blocks(self, name: str) -> Blocks | None:
        """The same where the file holds it quantized; None where the cut would go through a group."""
        blocks = self.source.blocks(name)
        if blocks is None or (_axis(name) == 1 and blocks.values_NK.shape[1] % (self.size * GROUP)):
            return None
        return Blocks(blocks.kind, self._part(name, blocks.values_NK), self._part(name, blocks.scales_NG))

    def part_of_product(self, layer: str, product: LowRankProduct) -> LowRankProduct:
        """This process's part of what an adapter adds to a layer."""
        axis = _axis(f"{layer}.weight")
        return product if axis is None else product.part(axis, self.rank, self.size)

    def add_up(self, output: Tensor) -> None:
        """Add up what the processes' parts of wo or w2 give, where it lies."""
        dist.all_reduce(output, group=self._group)

    def _part(self, name: str, matrix: Tensor) -> Tensor:
        axis = _axis(name)
        return matrix if axis is None else matrix.chunk(self.size, axis)[self.rank].contiguous()


def _axis(name: str) -> int | None:
    """Along which axis a parameter is split; None where it is whole everywhere."""
    return _AXES.get(name.split(".")[-2])


def add_up_outputs(model: Llama, part: PartSource) -> None:
    """Let the modules of a part add up what the processes' wo and w2 give."""

    def summed(module: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        part.add_up(output)

    for block in model.blocks():
        block.attention.wo.register_forward_hook(summed)
        block.feed_forward.w2.register_forward_hook(summed)
