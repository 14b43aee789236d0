"""Whether two tensors are the same, bit for bit."""

import torch
from torch import Tensor

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""By bytes per element: a view of the same width needs no contiguous copy."""


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether both have one dtype, one shape and the same bits: a NaN is itself, and 0 is not -0."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    integers = _INTEGERS[a.element_size()]
    return torch.equal(a.view(integers), b.view(integers))
