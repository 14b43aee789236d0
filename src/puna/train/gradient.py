"""The gradient's norm over all devices, and what the optimizer divides by to clip it (LLaMA, section 2.3: 1.0).

Everything is computed on the tensors that this device holds; devices tell each other one number per layout.
"""

import math

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

from puna.model.parts import local

_SMALLEST = 1e-6
"""Added to the norm, as `torch.nn.utils.clip_grad_norm_` does."""


def gradient_norm(model: nn.Module) -> Tensor:
    """The norm of the whole gradient, a float32 scalar on the device that is equal on all devices.

    A gradient in another layout than its parameter's is brought into that layout on the way.
    """
    layouts: dict[tuple[DeviceMesh, tuple[int, ...]] | None, list[Tensor]] = {}
    for parameter in model.parameters():
        if parameter.grad is None:
            continue
        layout = None
        if isinstance(parameter, DTensor):
            parameter.grad = _laid_out_as(parameter, parameter.grad)
            split = (dim for dim, placement in enumerate(parameter.placements) if not placement.is_replicate())
            layout = (parameter.device_mesh, tuple(split))
        layouts.setdefault(layout, []).append(local(parameter.grad))
    if list(layouts) == [None]:
        return _norm(layouts[None])
    squares = []
    for layout, gradients in layouts.items():
        square = _norm(gradients).square()
        if layout is not None:
            mesh, dims = layout
            for dim in dims:
                dist.all_reduce(square, group=mesh.get_group(dim))
        squares.append(square)
    return torch.stack(squares).sum().sqrt()


def clip_divisor(norm: Tensor, max_norm: float) -> Tensor:
    """The divisor that brings the gradient's norm to `max_norm` at most, a scalar that is 1 or more."""
    return ((norm + _SMALLEST) / max_norm).clamp(min=1.0)


def all_finite(model: nn.Module) -> bool:
    """Whether the weights that this device holds are finite; waits for the device."""
    largest = torch._foreach_norm(
        [local(weight.detach()) for weight in model.parameters() if local(weight).numel()], math.inf
    )
    return bool(torch.stack([each.float() for each in largest]).isfinite().all()) if largest else True


def _laid_out_as(parameter: DTensor, gradient: Tensor) -> Tensor:
    if isinstance(gradient, DTensor) and gradient.placements != parameter.placements:
        return gradient.redistribute(placements=parameter.placements)
    return gradient


def _norm(gradients: list[Tensor]) -> Tensor:
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients, 2, dtype=torch.float32)))
