"""The text that a tokenizer is trained on, counted while it is read."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from puna.tokenizer.tokenizer import check_unicode


@dataclass
class Portion:
    """What a source gives, in bytes."""

    wanted: int
    """Its share of the whole text."""
    available: int
    """Its training documents."""
    taken: int
    """What is read of them: planned, and after a pass over the text what it was, up to a piece."""


class TrainingText:
    """Documents one by one; after a pass, how much was read and the error that ended it, if any."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = texts
        self.n_bytes = 0
        self.error: BaseException | None = None
        """Libraries replace every error of the text's reader, even an interrupt, by one of their own; so it is kept
        here."""

    def __iter__(self) -> Iterator[str]:
        try:
            for text in self._texts:
                check_unicode(text)
                self.n_bytes += len(text.encode())
                yield text
        except (Exception, KeyboardInterrupt) as error:
            self.error = error
            raise
