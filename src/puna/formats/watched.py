"""Progress of a conversion: a checkpoint that reports what is read of it."""

from collections.abc import Callable

from torch import Tensor

from puna.formats.checkpoint import Checkpoint, DelegatingCheckpoint
from puna.ops.quantized import Blocks


class WatchedCheckpoint(DelegatingCheckpoint):
    """A checkpoint that reports the bytes that are read of it.

    Args:
        source: The checkpoint.
        advance: Called with the bytes of each tensor that was read.
    """

    def __init__(self, source: Checkpoint, advance: Callable[[float], None]) -> None:
        super().__init__(source)
        self._advance = advance

    def tensor(self, name: str) -> Tensor:
        """One parameter of the source."""
        tensor = self.source.tensor(name)
        self._advance(tensor.nbytes)
        return tensor

    def blocks(self, name: str) -> Blocks | None:
        """One quantized parameter of the source."""
        blocks = self.source.blocks(name)
        if blocks is not None:
            self._advance(self.stored[name].n_bytes)
        return blocks
