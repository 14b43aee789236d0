"""The same weights in another dtype."""

import torch
from torch import Tensor

from puna.core.errors import FormatError
from puna.formats.checkpoint import Checkpoint, DelegatingCheckpoint, Stored
from puna.formats.containers.dtypes import FLOATS


class CastCheckpoint(DelegatingCheckpoint):
    """A checkpoint whose tensors are rounded to `dtype` as they are read, to nearest, ties to even."""

    def __init__(self, source: Checkpoint, dtype: str) -> None:
        super().__init__(source)
        width = FLOATS[dtype].itemsize
        self.stored = {name: Stored(dtype, source.weights[name].numel * width) for name in source.stored}
        self.dtype = FLOATS[dtype]

    def tensor(self, name: str) -> Tensor:
        """One parameter, rounded.

        Raises:
            FormatError: float16 cannot hold one of its values.
        """
        exact = self.source.tensor(name)
        rounded = exact.to(self.dtype)
        if self.dtype == torch.float16 and rounded.isinf().any() and not exact.isinf().any():
            largest = exact.abs().max().item()
            raise FormatError(
                f"{self.path}: {name} holds {largest:.4g}, and float16 ends at 65504", hint="use bfloat16 or float32"
            )
        return rounded

    def blocks(self, name: str) -> None:
        """None, since the weights are floats of the dtype that was asked for."""


def common_dtype(source: Checkpoint) -> str:
    """The smallest stored dtype that holds every weight exactly; float32 if a weight is quantized.

    Formats keep gains in float32 beside matrices of 16 bits; the decoder wants one dtype. Only tensors that are wider
    than the narrowest are read.
    """
    found = {stored.dtype for stored in source.stored.values()}
    if len(found) == 1 and found <= FLOATS.keys():
        return found.pop()
    narrow = found - {"float32"}
    if len(narrow) != 1 or not narrow <= FLOATS.keys():
        return "float32"
    candidate = FLOATS[narrow.copy().pop()]
    wide = (name for name, stored in source.stored.items() if stored.dtype == "float32")
    exact = all(_holds(candidate, source.tensor(name)) for name in wide)
    return narrow.pop() if exact else "float32"


def _holds(dtype: torch.dtype, tensor: Tensor) -> bool:
    return torch.equal(tensor.to(dtype).to(tensor.dtype), tensor)
