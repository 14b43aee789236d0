"""Products of the blocks' linear layers in float8, on GPUs that multiply it at twice the rate of bfloat16.

A row of activations, and a row of a weight, is divided by its own largest value, so that it fills float8's range
(e4m3: 3 bits of precision up to 448; Micikevicius et al. 2022, table 1), and the product is multiplied by both scales
again. One scale per row instead of one per tensor keeps an outlier to its row. Two of a layer's three products run so:
the output and the input's gradient. The weight's gradient, a sum over all tokens, stays in bfloat16, and so do the
output layer, the embedding, norms and attention.

Numbers are rounded to float8 for a product and nowhere else: weights, their gradients and the stream keep their dtype.

Axes: N tokens   I inputs of a layer   O its outputs
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from puna.core.errors import TrainError
from puna.model.llama import Llama

FLOAT8 = torch.float8_e4m3fn
LARGEST = torch.finfo(FLOAT8).max
"""The largest number in e4m3, 448."""

_CAPABILITY = (8, 9)
"""The first compute capability whose tensor cores multiply float8 (Ada; Hopper is 9.0)."""
_MULTIPLE = 16
"""A layer's inputs and outputs must be multiples of it, for cuBLAS."""


def check_float8(model: Llama, device: torch.device) -> None:
    """Refuse what cannot be multiplied in float8.

    Raises:
        TrainError: The device has no such units, or a layer's width is not a multiple of 16.
    """
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < _CAPABILITY:
        raise TrainError(
            f"train.float8 = true needs a GPU of compute capability {_CAPABILITY[0]}.{_CAPABILITY[1]} or higher, and "
            f"this run is on {torch.cuda.get_device_name(device) if device.type == 'cuda' else 'a CPU'}",
            hint="leave train.float8 out",
        )
    for name, layer in _layers(model):
        if any(width % _MULTIPLE for width in (layer.in_features, layer.out_features)):
            shape = f"{layer.out_features} x {layer.in_features}"
            raise TrainError(f"train.float8 = true: {name} is {shape}, and float8 needs multiples of {_MULTIPLE}")


def apply_float8(model: Llama) -> None:
    """Let the linear layers of all blocks multiply in float8, in place; before blocks are compiled."""
    for _, layer in _layers(model):
        layer.forward = partial(_linear, layer)


def to_float8(x_RK: Tensor) -> tuple[Tensor, Tensor]:
    """The rows in float8, each divided by its scale, and the scales (R, 1) in float32; a row of zeros stays so."""
    x32_RK = x_RK.float()
    scale_R1 = x32_RK.abs().amax(1, keepdim=True).clamp(min=1e-12) / LARGEST
    return (x32_RK / scale_R1).clamp(-LARGEST, LARGEST).to(FLOAT8), scale_R1


def product(left_RK: Tensor, right_CK: Tensor) -> Tensor:
    """Left @ right.T with the rows of both in float8 and sums in float32, (R, C) in the dtype of `left_RK`."""
    (left8_RK, left_R1), (right8_CK, right_C1) = to_float8(left_RK), to_float8(right_CK)
    if left_RK.device.type != "cuda":
        return product_in_float32(left8_RK, left_R1, right8_CK, right_C1).to(left_RK.dtype)
    return torch._scaled_mm(
        left8_RK, right8_CK.T, scale_a=left_R1, scale_b=right_C1.T.contiguous(), out_dtype=left_RK.dtype,
        use_fast_accum=True,
    )  # fmt: skip


def product_in_float32(left8_RK: Tensor, left_R1: Tensor, right8_CK: Tensor, right_C1: Tensor) -> Tensor:
    """The product that the GPU's units compute, on any device: of the numbers that float8 holds, summed in float32."""
    return (left8_RK.float() @ right8_CK.float().T) * left_R1 * right_C1.T


class _Linear(torch.autograd.Function):
    @staticmethod
    # pyrefly: ignore[bad-override] named arguments instead of any
    def forward(ctx: Any, x_NI: Tensor, weight_OI: Tensor) -> Tensor:
        ctx.save_for_backward(x_NI, weight_OI)
        return product(x_NI, weight_OI)

    @staticmethod
    @once_differentiable
    # pyrefly: ignore[bad-override] named arguments instead of any
    def backward(ctx: Any, grad_NO: Tensor) -> tuple[Tensor, Tensor]:
        x_NI, weight_OI = ctx.saved_tensors
        # The sum runs over the outputs, so the weight's columns are the rows here.
        return product(grad_NO, weight_OI.T.contiguous()), grad_NO.T @ x_NI


def _linear(layer: nn.Linear, x_BTI: Tensor) -> Tensor:
    return _Linear.apply(x_BTI.flatten(0, -2), layer.weight).unflatten(0, x_BTI.shape[:-1])


def _layers(model: Llama) -> list[tuple[str, nn.Linear]]:
    return [
        (f"layers.{number}.{name}", layer)
        for number, block in enumerate(model.blocks())
        for name, layer in block.named_modules()
        if isinstance(layer, nn.Linear)
    ]
