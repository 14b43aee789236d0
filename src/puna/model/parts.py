"""The part of each parameter that this device holds, and where in the whole parameter it lies."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from puna.model.llama import Llama

_WRAPPERS = re.compile(r"(_checkpoint_wrapped_module|_orig_mod)\.")
"""What recomputation and compilation put into the names of what they wrap."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One rectangle of a parameter."""

    name: str
    """The parameter's, in a model that nothing wraps."""
    tensor: Tensor
    """The rectangle, in the model's own memory; empty where this device holds nothing of it."""
    shape: tuple[int, ...]
    """Of the whole parameter."""
    offset: tuple[int, ...]
    """Where in the whole parameter the rectangle begins, along each axis."""


def own_parts(model: Llama) -> Iterator[Part]:
    """What this device holds of every parameter, in the model's order; the whole of it where nothing is sharded."""
    for wrapped, parameter in model.named_parameters():
        tensor, offset = parameter, (0,) * parameter.ndim
        if isinstance(parameter, DTensor):
            tensor = parameter.to_local()
            _, offset = compute_local_shape_and_global_offset(
                parameter.shape, parameter.device_mesh, parameter.placements
            )
        name = _WRAPPERS.sub("", wrapped)
        yield Part(name=name, tensor=tensor, shape=tuple(parameter.shape), offset=tuple(offset))
