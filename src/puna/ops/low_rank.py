"""The update of a linear layer as it is computed beside the layer's own weights, which stay as they are.

A layer W x becomes f (W x + U (D x)): D makes few numbers of many, U makes many of few, f is a factor for each output.
So one set of weights, also of integers, serves any number of updates.

Axes in names: M rows   I inputs   O outputs   R rank
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class LowRankProduct:
    """What is added to a layer's product, in float32."""

    down_RI: Tensor
    up_OR: Tensor
    """With the update's scale."""
    factors_O: Tensor | None = None
    """What each output is multiplied by in the end; None multiplies by nothing."""

    def to(self, device: torch.device, dtype: torch.dtype) -> "LowRankProduct":
        """The same in the model's own dtype, where the model is."""
        factors_O = None if self.factors_O is None else self.factors_O.to(device, dtype)
        return LowRankProduct(
            down_RI=self.down_RI.to(device, dtype), up_OR=self.up_OR.to(device, dtype), factors_O=factors_O
        )

    def part(self, axis: int, rank: int, size: int) -> "LowRankProduct":
        """A process's part, where the layer's matrix is split.

        Args:
            axis: Of the matrix; 0 splits outputs, 1 inputs, and the outputs of all processes are added up then.
            rank: The process's number.
            size: How many processes there are.
        """
        if axis == 1:
            down_RI = self.down_RI.chunk(size, 1)[rank].contiguous()
            return LowRankProduct(down_RI=down_RI, up_OR=self.up_OR, factors_O=self.factors_O)
        factors_O = None if self.factors_O is None else self.factors_O.chunk(size)[rank].contiguous()
        up_OR = self.up_OR.chunk(size)[rank].contiguous()
        return LowRankProduct(down_RI=self.down_RI, up_OR=up_OR, factors_O=factors_O)

    def added(self, x_MI: Tensor, product_MO: Tensor) -> Tensor:
        """The updated layer's output, of rows and of what the layer itself makes of them."""
        updated_MO = product_MO + (x_MI @ self.down_RI.T) @ self.up_OR.T
        return updated_MO if self.factors_O is None else updated_MO * self.factors_O
