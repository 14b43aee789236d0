"""Progress of a conversion: a checkpoint that tells what is read of it."""

from collections.abc import Callable

from torch import Tensor

from puna.formats.checkpoint import Checkpoint
from puna.tokenizer.tokenizer import Tokenizer


class Watched(Checkpoint):
    """A checkpoint that tells of the bytes that are read of it."""

    def __init__(self, source: Checkpoint, advance: Callable[[float], None]) -> None:
        super().__init__(source.path, source.config, source.stored, source.extra, source.notes)
        self.chat_template = source.chat_template
        self._source = source
        self._advance = advance

    def tensor(self, name: str) -> Tensor:
        """One parameter of the source."""
        tensor = self._source.tensor(name)
        self._advance(tensor.nbytes)
        return tensor

    def tokenizer(self) -> Tokenizer | None:
        """The source's."""
        return self._source.tokenizer()
