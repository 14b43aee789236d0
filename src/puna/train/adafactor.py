"""Adafactor (Shazeer and Stern 2018) as T5X sets it: a second moment in two vectors per matrix, and no first moment.

A step of a matrix of M rows and N columns, with the gradient G of step t:

    R = b R + (1 - b) mean over columns of G^2 + 1e-30        b = 1 - t^-0.8
    C = b C + (1 - b) mean over rows of G^2 + 1e-30
    U = G / sqrt(R C / mean(R))                               then U / max(1, RMS(U))
    W = W - lr max(1e-3, RMS(W)) U

so the learning rate is relative to the size of a tensor's weights (section 8). What is not a matrix of at least 128
rows and columns keeps its whole second moment. Weight decay is decoupled, as in AdamW; T5X and Flan have none.

Where devices share a parameter, each keeps the rows or columns of its part, and they add up their sums: the vectors
are sharded as the sides of the matrix are, so that a checkpoint is read in any layout.
"""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor, Placement, Replicate, Shard

from puna.model.parts import local

_DECAY = 0.8
"""How the second moment's memory grows: b = 1 - t^-0.8 (section 7.2)."""
_SMALLEST_SQUARE = 1e-30
_SMALLEST_SCALE = 1e-3
"""The least that a tensor counts for RMS(W): epsilon_2 (section 8)."""
_CLIP = 1.0
"""The largest root mean square of an update, in learning rates (section 6)."""
_FACTORED_FROM = 128
"""Rows and columns from which on a matrix has two vectors: T5X's min_dim_size_to_factor."""


class Adafactor(torch.optim.Optimizer):
    """Adafactor over float32 parameters, plain or sharded.

    Args:
        params: Groups of parameters, each with its `weight_decay`.
        lr: Learning rate, relative to each tensor's root mean square, until another one is set.
    """

    def __init__(self, params: list[dict], *, lr: float) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": 0.0})

    @torch.no_grad()
    # pyrefly: ignore[bad-override] the loop computes the loss; no step does
    def step(self, divisor: Tensor | None = None) -> None:
        """Move every parameter that has a gradient, which is divided by `divisor` first, a scalar on the device."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state.update(zero_state(parameter))
                state["step"] += 1
                gradient = local(parameter.grad)
                _move(parameter, gradient if divisor is None else gradient / divisor, state, group)


def _move(parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict) -> None:
    """One step of one parameter, in place."""
    new = float(state["step"]) ** -_DECAY
    weight = local(parameter)
    squares = gradient.square()
    if "row" in state:
        row, column = local(state["row"]), local(state["column"])
        rows, columns = parameter.shape
        row.lerp_(_sum(squares.sum(1), parameter, 1) / columns + _SMALLEST_SQUARE, new)
        column.lerp_(_sum(squares.sum(0), parameter, 0) / rows + _SMALLEST_SQUARE, new)
        mean = _sum(row.sum(), parameter, 0) / rows
        update = gradient * (row / mean).rsqrt()[:, None] * column.rsqrt()
    else:
        second = local(state["exp_avg_sq"]).lerp_(squares + _SMALLEST_SQUARE, new)
        update = gradient * second.rsqrt()
    both = _sum(torch.stack((update.square().sum(), weight.square().sum())), parameter)
    size, scale = (both / parameter.numel()).sqrt().unbind()
    if group["weight_decay"]:
        weight.mul_(1 - group["lr"] * group["weight_decay"])
    # One number on the device, so that nothing waits for it.
    rate = group["lr"] * scale.clamp(min=_SMALLEST_SCALE) / (size / _CLIP).clamp(min=1.0)
    weight.sub_(update.mul_(rate))


def zero_state(parameter: Tensor) -> dict[str, Tensor]:
    """What Adafactor keeps for a parameter, before its first step; the count stays on the CPU, where it is read."""
    step = torch.zeros((), dtype=torch.float32)
    if not is_factored(parameter.shape):
        return {"step": step, "exp_avg_sq": torch.zeros_like(parameter)}
    return {"step": step, "row": _side(parameter, 0), "column": _side(parameter, 1)}


def is_factored(shape: Sequence[int]) -> bool:
    """Whether a tensor of this shape has two vectors for its second moment."""
    return len(shape) == 2 and min(shape) >= _FACTORED_FROM


def _side(parameter: Tensor, axis: int) -> Tensor:
    """Zeros for each index of one axis of a matrix, sharded as this axis is."""
    zeros = torch.zeros(local(parameter).shape[axis], dtype=parameter.dtype, device=parameter.device)
    if not isinstance(parameter, DTensor):
        return zeros
    placements = [_along_side(placement, axis) for placement in parameter.placements]
    shape = torch.Size([parameter.shape[axis]])
    return DTensor.from_local(zeros, parameter.device_mesh, placements, run_check=False, shape=shape, stride=(1,))


def _along_side(placement: Placement, axis: int) -> Placement:
    """How one side of a matrix is placed where the matrix has this placement."""
    if _axis(placement) != axis:
        return Replicate()
    return placement if axis == 0 else Shard(0)


def _axis(placement: Placement) -> int | None:
    """The axis that is split; None where none is. FSDP over tensor parallelism splits in a way of its own."""
    return None if placement.is_replicate() else getattr(placement, "dim", None)


def _sum(part: Tensor, parameter: Tensor, axis: int | None = None) -> Tensor:
    """A sum over the part of a parameter on this device, plus those of the devices that have its other parts.

    Args:
        part: The sum over this device's part.
        parameter: The parameter.
        axis: Only over the devices that share this axis; None is over all that share the parameter.
    """
    if isinstance(parameter, DTensor):
        for dimension, placement in enumerate(parameter.placements):
            split = _axis(placement)
            if split is not None and axis in (None, split):
                dist.all_reduce(part, group=parameter.device_mesh.get_group(dimension))
    return part
