"""AdamW with weights and moments in bfloat16, each rounded at random in proportion to the distance.

bfloat16 has 8 bits of precision: rounded to nearest, an update below 1/512 of a weight is lost every time, and so is a
small change of a moment. Stochastic rounding (Gupta et al. 2015, section 3) makes the expected value of what is stored
equal to what was computed, so small updates add up. Weight and moments take six bytes per parameter instead of twelve.

The random bits are a function of the seed, the step, the tensor and the place of the shard in it. A resumed run draws
the same bits, and devices that hold copies of the same shard agree.
"""

import hashlib
import math

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

_LOW_BITS = 16
"""Bits of a float32 that a bfloat16 does not have."""


class StochasticAdamW(torch.optim.Optimizer):
    """AdamW (Loshchilov and Hutter 2019) computed in float32 and kept in bfloat16.

    Args:
        params: Groups of bfloat16 parameters, plain or sharded, each with its `weight_decay`.
        lr: Learning rate until another one is set.
        betas: Decay of the first and second moment.
        eps: Added to the root of the second moment.
        seed: Of the rounding.
    """

    def __init__(self, params: list[dict], *, lr: float, betas: tuple[float, float], eps: float, seed: int) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0})
        self._seed = seed
        if wrong := {p.dtype for group in self.param_groups for p in group["params"]} - {torch.bfloat16}:
            raise TypeError(f"parameters must be bfloat16, found {wrong}")

    @torch.no_grad()
    # pyrefly: ignore[bad-override] the loop computes the loss; no step does
    def step(self, closure: None = None) -> None:
        """Move every parameter that has a gradient."""
        index = 0
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group, index)
                index += 1

    def _move(self, parameter: Tensor, gradient: Tensor, group: dict, index: int) -> None:
        state = self.state[parameter]
        if not state:
            state.update(zero_state(parameter))
        state["step"] += 1
        step, (beta1, beta2), lr = int(state["step"]), group["betas"], group["lr"]
        weight, first, second = (_local(tensor) for tensor in (parameter, state["exp_avg"], state["exp_avg_sq"]))
        gradient32 = _local(_laid_out_as(parameter, gradient)).float()
        first32 = first.float().lerp_(gradient32, 1 - beta1)
        second32 = second.float().mul_(beta2).addcmul_(gradient32, gradient32, value=1 - beta2)
        weight32 = weight.float().mul_(1 - lr * group["weight_decay"])
        root = second32.sqrt().div_(math.sqrt(1 - beta2**step)).add_(group["eps"])
        weight32.addcdiv_(first32, root, value=-lr / (1 - beta1**step))
        generator = _generator(weight.device, self._seed, step, index, *_place(parameter))
        for stored, computed in ((weight, weight32), (first, first32), (second, second32)):
            stored.copy_(round_stochastically(computed, generator))


def zero_state(parameter: Tensor) -> dict[str, Tensor]:
    """What AdamW remembers of a parameter before its first step; the count stays on the CPU, where it is read."""
    return {
        "step": torch.zeros((), dtype=torch.float32),
        "exp_avg": torch.zeros_like(parameter),
        "exp_avg_sq": torch.zeros_like(parameter),
    }


def round_stochastically(values: Tensor, generator: torch.Generator) -> Tensor:
    """Each float32 value as one of its two bfloat16 neighbours, the nearer one more often; the mean is the value.

    Adding a random number to the bits that will be cut off carries into the others with just that probability. What
    bfloat16 can represent stays; above its largest number the next one is infinity.
    """
    low = torch.randint(0, 1 << _LOW_BITS, values.shape, dtype=torch.int32, device=values.device, generator=generator)
    rounded = low.add_(values.view(torch.int32)).bitwise_and_(-1 << _LOW_BITS).view(torch.float32)
    # A NaN's payload may carry into its sign or be cut off altogether.
    return torch.where(values.isfinite(), rounded, values).bfloat16()


def _generator(device: torch.device, *key: int) -> torch.Generator:
    """Random bits that depend on the key alone."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "little"))


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _laid_out_as(parameter: Tensor, gradient: Tensor) -> Tensor:
    if isinstance(parameter, DTensor) and isinstance(gradient, DTensor):
        return gradient.redistribute(placements=parameter.placements)
    return gradient


def _place(parameter: Tensor) -> tuple[int, ...]:
    """Which shard this device has; equal on devices that hold copies of the same one."""
    if not isinstance(parameter, DTensor):
        return ()
    coordinates = parameter.device_mesh.get_coordinate() or ()
    return tuple(
        index
        for index, placement in zip(coordinates, parameter.placements, strict=True)
        if not placement.is_replicate()
    )
