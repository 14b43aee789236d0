"""The weights that passes compute with, where this process is alone and no sharding makes them.

The optimizer moves the model's own parameters. While `WorkingWeights` are entered, the model's modules hold leaves of
another kind in their place:

- in `bf16` a bfloat16 copy of every parameter, made once on entering, so once per optimizer step and not once per pass.
  As soon as a pass has the gradient of a leaf, it is added to the parameter's own in float32, and goes;
- on a GPU wq, wk and wv of a block are one matrix, and so are w1 and w3, because one large product is faster than
  several small ones. In `bf16` the leaf is their copy; where the parameters are in the dtype of the passes already it
  is their own memory, of which they become slices.

The gradients that leave lie where those of plain weights would.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from puna.model.llama import Llama

PRODUCTS = {"attention": ("wq", "wk", "wv"), "feed_forward": ("w1", "w3")}
"""Linear layers of a block that read the same input, by the module that has their joined matrix as `joined`."""


@dataclass(frozen=True)
class _Leaf:
    """What passes compute with in place of some parameters."""

    tensor: Tensor
    """Of one parameter, or of several below each other."""
    parameters: list[nn.Parameter]
    slots: list[tuple[nn.Module, str]]
    """The modules that hold it, and the name that it has there."""
    shared: bool
    """Whether its memory is the parameters' own."""

    def parts(self, whole: Tensor) -> Iterator[tuple[nn.Parameter, Tensor]]:
        """The parameters, and the rows of `whole` that are theirs."""
        rows = [len(parameter) for parameter in self.parameters]
        return zip(self.parameters, whole.split(rows), strict=True)


class WorkingWeights:
    """A context in which the model computes with its working weights, and learns.

    Args:
        model: On its device, with its initial weights; its parameters stay the ones that are trained and saved.
        dtype: Of the passes.
        join: Whether products of the same input become one.
    """

    def __init__(self, model: Llama, dtype: torch.dtype, *, join: bool) -> None:
        self.entered = False
        self._leaves: list[_Leaf] = []
        self._own: dict[int, nn.Parameter] = {}
        taken: set[int] = set()
        if join:
            for block in model.blocks():
                for home, names in PRODUCTS.items():
                    module = block.get_submodule(home)
                    weights = [module.get_submodule(name).get_parameter("weight") for name in names]
                    taken.update(map(id, weights))
                    self._add(weights, [(module, "joined")], dtype)
        slots: dict[int, list[tuple[nn.Module, str]]] = {}
        for module in model.modules():
            for name, parameter in module.named_parameters(recurse=False):
                slots.setdefault(id(parameter), []).append((module, name))
        for parameter in model.parameters():
            if id(parameter) not in taken and parameter.dtype != dtype:
                self._add([parameter], slots[id(parameter)], dtype)

    def own(self, weight: Tensor) -> Tensor:
        """The parameter that a working weight stands for; any other tensor is its own."""
        return self._own.get(id(weight), weight)

    def __enter__(self) -> Self:
        copied = [part for leaf in self._leaves if not leaf.shared for part in leaf.parts(leaf.tensor.detach())]
        if copied:
            with torch.no_grad():
                torch._foreach_copy_([part for _, part in copied], [parameter.detach() for parameter, _ in copied])
        for leaf in self._leaves:
            for module, name in leaf.slots:
                _hold(module, name, leaf.tensor)
        self.entered = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.entered = False
        for leaf in self._leaves:
            for module, name in leaf.slots:
                _hold(module, name, None if name == "joined" else leaf.parameters[0])
            if leaf.shared and leaf.tensor.grad is not None:
                for parameter, part in leaf.parts(leaf.tensor.grad):
                    parameter.grad = part
            leaf.tensor.grad = None

    def _add(self, parameters: list[nn.Parameter], slots: list[tuple[nn.Module, str]], dtype: torch.dtype) -> None:
        shared = parameters[0].dtype == dtype
        tensor = torch.cat([parameter.detach().to(dtype) for parameter in parameters]).requires_grad_()
        leaf = _Leaf(tensor, parameters, slots, shared)
        self._leaves.append(leaf)
        if shared:
            for parameter, part in leaf.parts(tensor.detach()):
                parameter.data = part
        else:
            tensor.register_post_accumulate_grad_hook(lambda _: _hand_over(leaf))
            if len(parameters) == 1:
                self._own[id(tensor)] = parameters[0]


def _hold(module: nn.Module, name: str, tensor: Tensor | None) -> None:
    """Put a tensor where a module looks for a parameter, without making a parameter of it."""
    place: dict[str, Any] = vars(module) if name == "joined" else module._parameters
    place[name] = tensor


@torch.no_grad()
def _hand_over(leaf: _Leaf) -> None:
    """Add a pass's gradient to the parameters' sums in their own dtype."""
    if leaf.tensor.grad is None:
        return
    for parameter, part in leaf.parts(leaf.tensor.grad):
        if parameter.grad is None:
            parameter.grad = part.to(parameter.dtype)
        else:
            parameter.grad.add_(part)
    leaf.tensor.grad = None
