"""The bfloat16 weights for the passes of a process that is alone, where no sharding makes them.

The optimizer moves the model's own float32 parameters. While `WorkingWeights` are entered, the model's modules hold
bfloat16 copies in their place, made once on entering: once per optimizer step, and not once per pass. As soon as a pass
has the gradient of a copy, it is added to the parameter's gradient in float32 and freed.

FSDP on one device does the same, but it casts, copies and "reduces" every weight and every gradient in every pass: 36
bytes of memory traffic per parameter and pass instead of 12.
"""

from collections.abc import Callable
from functools import cache, partial
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from puna.model.llama import Llama


class WorkingWeights:
    """A context in which the model computes in bfloat16, and learns in float32.

    Args:
        model: On its device; its parameters stay the ones that are trained and saved.
        compiled: Whether gradients are added by a compiled kernel.
    """

    def __init__(self, model: Llama, *, compiled: bool = False) -> None:
        self.entered = False
        self._copies: dict[nn.Parameter, Tensor] = {}
        self._slots: list[tuple[nn.Module, str, nn.Parameter]] = []
        for module in model.modules():
            for name, parameter in module.named_parameters(recurse=False):
                if parameter.dtype == torch.bfloat16:  # a frozen one, which has no sum in float32
                    continue
                if name in getattr(module, "in_float32", ()):  # it is a factor near 1 (`puna.model.lora`)
                    continue
                self._slots.append((module, name, parameter))
                if parameter not in self._copies:
                    copy = torch.empty_like(parameter, dtype=torch.bfloat16)
                    self._copies[parameter] = copy
                    if not parameter.requires_grad:
                        continue
                    copy.requires_grad_()
                    # The hook must not hold the copy, which would keep itself alive for ever.
                    copy.register_post_accumulate_grad_hook(partial(_hand_over, parameter, _adder(compiled)))
        self._own = {id(copy): parameter for parameter, copy in self._copies.items()}

    def own(self, weight: Tensor) -> Tensor:
        """The parameter that a copy stands for; any other tensor is returned as it is."""
        return self._own.get(id(weight), weight)

    def __enter__(self) -> Self:
        with torch.no_grad():
            torch._foreach_copy_(list(self._copies.values()), list(self._copies))
        for module, name, parameter in self._slots:
            _hold(module, name, self._copies[parameter])
        self.entered = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.entered = False
        for module, name, parameter in self._slots:
            _hold(module, name, parameter)


def _hold(module: nn.Module, name: str, tensor: Tensor) -> None:
    """Put a tensor where a module looks for a parameter, without making a parameter of it."""
    parameters: dict[str, Any] = module._parameters
    parameters[name] = tensor


@torch.no_grad()
def _hand_over(parameter: nn.Parameter, add: Callable[[Tensor, Tensor], None], copy: Tensor) -> None:
    """Add a pass's gradient to the parameter's sum."""
    gradient, copy.grad = copy.grad, None
    if gradient is None:
        return
    if parameter.grad is None:
        parameter.grad = gradient.to(parameter.dtype)
    else:
        add(parameter.grad.view(-1), gradient.reshape(-1))


def _add(total: Tensor, part: Tensor) -> None:
    total.add_(part)


@cache
def _adder(compiled: bool) -> Callable[[Tensor, Tensor], None]:
    """PyTorch's own kernel for a sum of two dtypes reaches half of an H200's memory rate."""
    return torch.compile(_add, dynamic=True) if compiled else _add
