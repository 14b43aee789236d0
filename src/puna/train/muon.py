"""Muon: momentum made orthogonal, for the matrices of the blocks (Jordan et al. 2024).

The step of a matrix is its Nesterov momentum with all singular values brought near one by five Newton-Schulz iterations
in bfloat16. It is scaled to the root mean square of AdamW's steps, so that AdamW's learning rate and decay fit (Liu et
al. 2025, "Muon is scalable for LLM training", section 2.2).

`torch.optim.Muon` computes the same on whole tensors, and is what the tests compare with. On sharded ones it sends a
dozen messages per matrix, sums bfloat16 products in an order that depends on the layout, and refuses a matrix with
fewer rows than devices. Here the devices gather each matrix once, in bfloat16, take turns at making one orthogonal and
keep their own part of the result: with equal gradients every layout gives the same bits.
"""

import math

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from puna.model.parts import local, whole

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic; they raise small singular values fastest, and all end between about 0.7 and 1.2."""
_ITERATIONS = 5
_ADAMW_RMS = 0.2
"""The usual root mean square of an AdamW step, in learning rates (Liu et al. 2025, section 2.2)."""
_AT_ONCE = 8
"""Matrices that a device holds whole at one time, and so the number of devices that can work in parallel."""


class Muon(torch.optim.Optimizer):
    """Muon over matrices, plain or sharded, with decoupled weight decay."""

    def __init__(self, params: list[dict], *, lr: float, momentum: float) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": 0.0})

    @torch.no_grad()
    # pyrefly: ignore[bad-override] the loop computes the loss; no step does
    def step(self, divisor: Tensor | None = None) -> None:
        """Move every matrix that has a gradient, which is divided by `divisor` first, a scalar on the device."""
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if divisor is not None and parameters:
                torch._foreach_div_([local(parameter.grad) for parameter in parameters], divisor)
            for start in range(0, len(parameters), _AT_ONCE):
                batch = parameters[start : start + _AT_ONCE]
                steps = [whole(self._momentum(parameter, parameter.grad, group["momentum"])) for parameter in batch]
                _orthogonalize_together(steps, shared=_on_all_devices(batch[0]))
                for parameter, step_MN in zip(batch, steps, strict=True):
                    scale = _ADAMW_RMS * math.sqrt(max(parameter.shape))
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(_own_part(step_MN, parameter), alpha=-group["lr"] * scale)

    def _momentum(self, parameter: Tensor, gradient: Tensor, momentum: float) -> Tensor:
        """The Nesterov momentum of a matrix after this gradient, in bfloat16, sharded as the matrix is."""
        state = self.state[parameter]
        if not state:
            state.update(zero_state(parameter))
        average = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        return gradient.lerp(average, momentum).bfloat16()


def zero_state(parameter: Tensor) -> dict[str, Tensor]:
    """What Muon keeps for a matrix, before its first step."""
    return {"momentum_buffer": torch.zeros_like(parameter)}


def orthogonalize(matrix_MN: Tensor) -> Tensor:
    """The matrix with singular values near one and the singular vectors it had, in bfloat16; zero stays zero."""
    x_MN = matrix_MN.bfloat16()
    tall = x_MN.shape[0] > x_MN.shape[1]
    x_MN = x_MN.T if tall else x_MN
    x_MN = x_MN / x_MN.norm().clamp(min=1e-7)
    a, b, c = _COEFFICIENTS
    for _ in range(_ITERATIONS):
        gram_MM = x_MN @ x_MN.T
        x_MN = torch.addmm(x_MN, torch.addmm(gram_MM, gram_MM, gram_MM, beta=b, alpha=c), x_MN, beta=a)
    return x_MN.T if tall else x_MN


def _orthogonalize_together(matrices: list[Tensor], *, shared: bool) -> None:
    """Make whole matrices orthogonal in place; where all devices have them, each device does its share of the work."""
    devices, rank = (dist.get_world_size(), dist.get_rank()) if shared else (1, 0)
    for index, matrix_MN in enumerate(matrices):
        if index % devices == rank:
            matrix_MN.copy_(orthogonalize(matrix_MN))
    if devices > 1:
        pending = [
            dist.broadcast(matrix_MN, src=index % devices, async_op=True) for index, matrix_MN in enumerate(matrices)
        ]
        for work in filter(None, pending):
            work.wait()


def _on_all_devices(parameter: Tensor) -> bool:
    return isinstance(parameter, DTensor) and parameter.device_mesh.size() == dist.get_world_size()


def _own_part(tensor: Tensor, like: Tensor) -> Tensor:
    """This device's part of a tensor that all devices have whole; nothing is sent."""
    if not isinstance(like, DTensor):
        return tensor
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)
