"""Tensors that devices share: the part of each that this device holds, where in the whole it lies, and the whole."""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard

from torch import Tensor

from puna.model.llama import Llama

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

UPDATE = "update"
"""The name of the module, within a linear layer, that learns beside the layer's frozen weight (`puna.model.lora`)."""
_WRAPPERS = re.compile(r"(_checkpoint_wrapped_module|_orig_mod)\.")
"""Parts that recomputation and compilation add to the names of wrapped modules."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One rectangle of a parameter."""

    name: str
    """The parameter's name in a model without wrappers."""
    tensor: Tensor
    """The rectangle, in the model's own memory; empty if this device holds nothing of it."""
    shape: tuple[int, ...]
    """The shape of the whole parameter."""
    offset: tuple[int, ...]
    """The index in the whole parameter at which the rectangle begins, along each axis."""


def own_parts(model: Llama) -> Iterator[Part]:
    """This device's part of every parameter, in the model's order; the whole parameter if it is not sharded."""
    for wrapped, parameter in model.named_parameters():
        offset = (0,) * parameter.ndim
        if _is_shared(parameter):
            from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

            _, offset = compute_local_shape_and_global_offset(
                parameter.shape, parameter.device_mesh, parameter.placements
            )
        name = _WRAPPERS.sub("", wrapped)
        yield Part(name=name, tensor=local(parameter), shape=tuple(parameter.shape), offset=tuple(offset))


def is_update(name: str) -> bool:
    """Whether a parameter of this name belongs to an update, and so not to the model as it was."""
    return f".{UPDATE}." in name


def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that this device holds; it shares memory with it."""
    return tensor.to_local() if _is_shared(tensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """The tensor of all devices, contiguous; every device asks for it at the same time."""
    return tensor.full_tensor().contiguous() if _is_shared(tensor) else tensor


def _is_shared(tensor: Tensor) -> "TypeGuard[DTensor]":
    """Whether devices share the tensor.

    Nobody has such a tensor without torch's module of them. It takes a third as long to import as torch itself, so what
    only reads a model or generates goes without.
    """
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)
