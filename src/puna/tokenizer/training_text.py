"""The text that a tokenizer is trained on, as it passes by."""

from collections.abc import Iterable, Iterator

from puna.tokenizer.tokenizer import check_unicode


class TrainingText:
    """Documents one by one; after a pass, how much has passed by and what has broken it off."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = texts
        self.n_bytes = 0
        self.error: BaseException | None = None
        """Libraries make an error of their own of whatever the text's reader raises, an interrupt included."""

    def __iter__(self) -> Iterator[str]:
        try:
            for text in self._texts:
                check_unicode(text)
                self.n_bytes += len(text.encode())
                yield text
        except (Exception, KeyboardInterrupt) as error:
            self.error = error
            raise
