"""AdamW with decoupled weight decay (Loshchilov and Hutter 2019): PyTorch's fused step on this device's own tensors.

`torch.optim.AdamW` would send a sharded parameter through the machinery of distributed tensors for every operator, and
has no place for the divisor that clips the gradient; here the division is part of the same pass over memory.
"""

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from puna.model.parts import local


class AdamW(torch.optim.Optimizer):
    """AdamW over parameters, plain or sharded.

    Args:
        params: Groups of parameters, each with its `weight_decay`.
        lr: Learning rate until another one is set.
        betas: Decay of the first and second moment.
        eps: Added to the root of the second moment.
    """

    def __init__(self, params: list[dict], *, lr: float, betas: tuple[float, float], eps: float) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0})

    @torch.no_grad()
    # pyrefly: ignore[bad-override] the loop computes the loss; no step does
    def step(self, divisor: Tensor | None = None) -> None:
        """Move every parameter that has a gradient, which is divided by `divisor` first, a scalar on the device."""
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            for parameter in parameters:
                if not self.state[parameter]:
                    self.state[parameter] = zero_state(parameter)
            states = [self.state[parameter] for parameter in parameters]
            beta1, beta2 = group["betas"]
            adamw(
                [local(parameter) for parameter in parameters],
                [local(parameter.grad) for parameter in parameters],
                [local(state["exp_avg"]) for state in states],
                [local(state["exp_avg_sq"]) for state in states],
                [],
                [state["step"] for state in states],
                fused=True, grad_scale=divisor, amsgrad=False, beta1=beta1, beta2=beta2, lr=group["lr"],
                weight_decay=group["weight_decay"], eps=group["eps"], maximize=False,
            )  # fmt: skip


def zero_state(parameter: Tensor) -> dict[str, Tensor]:
    """What AdamW keeps for a parameter, before its first step; the count of steps is on the parameter's device."""
    return {
        "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
        "exp_avg": torch.zeros_like(parameter),
        "exp_avg_sq": torch.zeros_like(parameter),
    }
