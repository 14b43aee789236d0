"""Where a runner takes weights from: a model in any format, opened, of which one tensor is read at a time."""

from typing import Protocol

from torch import Tensor

from puna.config.recipe import ModelConfig
from puna.ops.quantized import Blocks


class Source(Protocol):
    """The weights of a decoder by their names (Meta's); `puna.formats.checkpoint.Checkpoint` is one."""

    config: ModelConfig

    def tensor(self, name: str) -> Tensor:
        """One parameter in a floating dtype, [out, in], the rows of wq and wk in halves; quantized ones as float32.

        It may be a view of a mapped file: do not change it.
        """
        ...

    def blocks(self, name: str) -> Blocks | None:
        """The same parameter where the file holds it quantized in groups of 32, without loss; None otherwise."""
        ...
