"""The part of each parameter that this device holds, and where in the whole parameter it lies."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from puna.model.llama import Llama

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
        tensor, offset = parameter, (0,) * parameter.ndim
        if isinstance(parameter, DTensor):
            tensor = parameter.to_local()
            _, offset = compute_local_shape_and_global_offset(
                parameter.shape, parameter.device_mesh, parameter.placements
            )
        name = _WRAPPERS.sub("", wrapped)
        yield Part(name=name, tensor=tensor, shape=tuple(parameter.shape), offset=tuple(offset))
