"""AdamW with weights and moments in bfloat16, each rounded at random in proportion to the distance.

bfloat16 has 8 bits of precision: rounded to nearest, an update below 1/512 of a weight is lost every time, and so is a
small change of a moment. Stochastic rounding (Gupta et al. 2015, section 3) makes the expected value of what is stored
equal to what was computed, so small updates add up. Weight and moments take six bytes per parameter instead of twelve.

The random bits are a function of the seed, the step, the tensor, the place of the shard in it and the number's own
place in the shard. A resumed run draws the same bits, and devices that hold copies of the same shard agree. They are
computed where they are used, so that all of a step, compiled, is one pass over the memory.
"""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from puna.model.parts import local
from puna.ops.random_bits import STRIDE, key_of, mixed
from puna.ops.transfer import sent

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
        compiled: Whether each tensor's step is compiled into one pass.
    """

    def __init__(
        self, params: list[dict], *, lr: float, betas: tuple[float, float], eps: float, seed: int,
        compiled: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0})
        self._seed, self._move = seed, _kernel(compiled)
        if wrong := {p.dtype for group in self.param_groups for p in group["params"]} - {torch.bfloat16}:
            raise TypeError(f"parameters must be bfloat16, found {wrong}")

    @torch.no_grad()
    # pyrefly: ignore[bad-override] the loop computes the loss; no step does
    def step(self, divisor: Tensor | None = None) -> None:
        """Move every parameter that has a gradient, which is divided by `divisor` first, a scalar on the device."""
        index = 0
        for group in self.param_groups:
            moving = [(number, p) for number, p in enumerate(group["params"], index) if p.grad is not None]
            index += len(group["params"])
            if not moving:
                continue
            device = moving[0][1].device
            one = torch.ones((), device=device) if divisor is None else divisor
            for _, parameter in moving:
                if not self.state[parameter]:
                    self.state[parameter].update(zero_state(parameter))
                self.state[parameter]["step"] += 1
            # All numbers of the group's tensors go to the device at once.
            constants = sent(np.array([self._constants(group, p) for _, p in moving], dtype=np.float32), device)
            steps = [(number, int(self.state[p]["step"])) for number, p in moving]
            keys = [
                key_of(self._seed, step, number, *_place(p))
                for (number, step), (_, p) in zip(steps, moving, strict=True)
            ]
            key_rows = sent(np.array(keys, dtype=np.int32), device)
            for row, (_, parameter) in enumerate(moving):
                state = self.state[parameter]
                held = (parameter, state["exp_avg"], state["exp_avg_sq"])
                weight, first, second = (local(tensor).view(-1) for tensor in held)
                gradient = local(parameter.grad).reshape(-1)
                self._move(weight, first, second, gradient, one, constants[row], key_rows[row])

    def _constants(self, group: dict, parameter: Tensor) -> list[float]:
        """The numbers for the step of a tensor: see `_move`."""
        step, (beta1, beta2), lr = int(self.state[parameter]["step"]), group["betas"], group["lr"]
        decay = 1 - lr * group["weight_decay"]
        return [1 - beta1, 1 - beta2, decay, lr / (1 - beta1**step), math.sqrt(1 - beta2**step), group["eps"]]


def _move(
    weight: Tensor, first: Tensor, second: Tensor, gradient: Tensor, divisor: Tensor, constants_6: Tensor, key_2: Tensor
) -> None:
    """One step of one tensor, in place; all are flat."""
    new1, new2, decay, rate, correction, eps = constants_6.unbind()
    gradient32 = gradient.float() / divisor
    first32 = first.float()
    first32 = first32 + new1 * (gradient32 - first32)
    second32 = second.float()
    second32 = second32 + new2 * (gradient32 * gradient32 - second32)
    weight32 = weight.float() * decay - rate * first32 / (second32.sqrt() / correction + eps)
    bits, more = random_bits(len(weight), key_2)
    weight.copy_(round_stochastically(weight32, bits))
    # The upper half of the bits is as random as the lower one.
    first.copy_(round_stochastically(first32, bits >> _LOW_BITS))
    second.copy_(round_stochastically(second32, more))


@cache
def _kernel(compiled: bool) -> Callable[..., None]:
    return torch.compile(_move, dynamic=True) if compiled else _move


def zero_state(parameter: Tensor) -> dict[str, Tensor]:
    """What AdamW keeps for a parameter, before its first step; the count stays on the CPU, where it is read."""
    return {
        "step": torch.zeros((), dtype=torch.float32),
        "exp_avg": torch.zeros_like(parameter),
        "exp_avg_sq": torch.zeros_like(parameter),
    }


def random_bits(count: int, key_2: Tensor) -> tuple[Tensor, Tensor]:
    """Two int32 of random bits for each of `count` places, by hashing the place with two int32 of a key."""
    place = torch.arange(count, dtype=torch.int32, device=key_2.device)
    bits = mixed(mixed(place * STRIDE + key_2[0]) ^ key_2[1])
    return bits, mixed(bits + STRIDE)


def round_stochastically(values: Tensor, bits: Tensor) -> Tensor:
    """Each float32 value rounded to one of its two bfloat16 neighbours at random, so that the mean is the value.

    A random number is added to the bits that will be cut off, and carries into the others with just the right
    probability. A value that bfloat16 can represent stays; a value above its largest number may become infinity.

    Args:
        values: In float32.
        bits: int32 of the same shape, whose lower 16 bits are random.
    """
    low = bits & ((1 << _LOW_BITS) - 1)
    rounded = ((low + values.view(torch.int32)) & (-1 << _LOW_BITS)).view(torch.float32)
    # A NaN's payload may carry into its sign or be cut off altogether.
    return torch.where(values.isfinite(), rounded, values).bfloat16()


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
