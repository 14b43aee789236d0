"""Products with a frozen matrix that is kept in 8 or 4 bits, forward and backward: what QLoRA-like tuning is made of.

The integers and scales are those of `puna.ops.quantized`; two integers of 4 bits share a byte. A product makes the
floats of one matrix for as long as it runs, in the dtype of its input, and the backward pass makes them again
(Dettmers et al. 2023, section 3). The matrix itself does not learn.

Shapes in names: N tokens   I inputs   O outputs   G groups of 32 inputs   P bytes of a row
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from puna.ops.quantized import GROUP, Blocks, WeightKind

_OFFSET = 8
"""What is added to a number of 4 bits, -8 to 7, before it is packed."""


def row_bytes(inputs: int, kind: WeightKind) -> int:
    """Bytes of the integers of a row."""
    return inputs if kind == WeightKind.INT8 else (inputs + 1) // 2


def pack(blocks: Blocks) -> Tensor:
    """The integers of a matrix as bytes, (O, P) uint8; those of 4 bits in pairs, the first one in the lower half."""
    values_OI = blocks.values_NK
    if blocks.kind == WeightKind.INT8:
        return values_OI.view(torch.uint8)
    shifted_OI = torch.nn.functional.pad(values_OI + _OFFSET, (0, values_OI.shape[1] % 2)).view(torch.uint8)
    return shifted_OI[:, ::2] | (shifted_OI[:, 1::2] << 4)


def unpack(packed_OP: Tensor, scales_OG: Tensor, inputs: int, dtype: torch.dtype) -> Tensor:
    """The matrix, (O, I): each weight the product of integer and scale in float32, rounded to `dtype`."""
    return _unpack(packed_OP, scales_OG, inputs, dtype)


# An operator of its own: PyTorch 2.13's compiler for CPUs makes wrong numbers of these operations on bytes.
@torch.library.custom_op("puna::unpack", mutates_args=())
def _unpack(packed_OP: Tensor, scales_OG: Tensor, inputs: int, dtype: torch.dtype) -> Tensor:
    if packed_OP.shape[1] == inputs and inputs > 1:
        values_OI = packed_OP.view(torch.int8).float()
    else:
        pairs_OP2 = torch.stack((packed_OP & 0xF, packed_OP >> 4), dim=-1)
        values_OI = pairs_OP2.flatten(1)[:, :inputs].float() - _OFFSET
    scales_OI = scales_OG.float().repeat_interleave(GROUP, dim=1)[:, :inputs]
    return (values_OI * scales_OI).to(dtype)


@_unpack.register_fake
def _(packed_OP: Tensor, scales_OG: Tensor, inputs: int, dtype: torch.dtype) -> Tensor:
    return packed_OP.new_empty(packed_OP.shape[0], inputs, dtype=dtype)


def packed_linear(x_BTI: Tensor, packed_OP: Tensor, scales_OG: Tensor) -> Tensor:
    """The product of inputs with the matrix, (B, T, O), which can be differentiated with respect to the inputs."""
    return _PackedLinear.apply(x_BTI, packed_OP, scales_OG)


class _PackedLinear(torch.autograd.Function):
    @staticmethod
    # pyrefly: ignore[bad-override] named arguments instead of any
    def forward(ctx: Any, x_BTI: Tensor, packed_OP: Tensor, scales_OG: Tensor) -> Tensor:
        ctx.save_for_backward(packed_OP, scales_OG)
        ctx.inputs = x_BTI.shape[-1]
        return torch.nn.functional.linear(x_BTI, unpack(packed_OP, scales_OG, ctx.inputs, x_BTI.dtype))

    @staticmethod
    @once_differentiable
    # pyrefly: ignore[bad-override] named arguments instead of any
    def backward(ctx: Any, grad_BTO: Tensor) -> tuple[Tensor, None, None]:
        packed_OP, scales_OG = ctx.saved_tensors
        return grad_BTO @ unpack(packed_OP, scales_OG, ctx.inputs, grad_BTO.dtype), None, None
