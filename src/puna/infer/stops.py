"""Text from token ids, as far as it is certain: no half character, and nothing that may belong to a stop string."""

from puna.tokenizer.bos import begins_text
from puna.tokenizer.stream import TextStream
from puna.tokenizer.tokenizer import Tokenizer


class Text:
    """The text of one sample as it grows.

    Args:
        tokenizer: None gives no text at all.
        prompt: The ids that the text follows.
        stop: Strings that end it.
    """

    def __init__(self, tokenizer: Tokenizer | None, prompt: tuple[int, ...] = (), stop: tuple[str, ...] = ()) -> None:
        self._stream: TextStream | None = None
        # Embeddings may be padded; the ids behind the vocabulary have no text.
        self._vocabulary = 0 if tokenizer is None else tokenizer.vocab_size
        if tokenizer is not None:
            self._stream = TextStream(tokenizer, starts_text=begins_text(tokenizer, prompt))
        self._stop = stop
        self._held = ""
        self._given: list[str] = []

    @property
    def given(self) -> str:
        """All text that was given out so far."""
        return "".join(self._given)

    def push(self, token: int) -> tuple[str, str | None]:
        """The text that is certain after this token, and the stop string that it completes, if any.

        Of several the one that is complete first counts, as if the characters came one by one, and of those that end
        together the longest. So how the text is cut into tokens changes nothing.
        """
        return self._more(self._stream.push(token) if self._stream is not None and token < self._vocabulary else "")

    def finish(self) -> tuple[str, str | None]:
        """What was held back, at the end of the text; half a character becomes U+FFFD."""
        text, stop = self._more("" if self._stream is None else self._stream.finish())
        rest, self._held = self._held, ""
        self._given.append(rest)
        return text + rest, stop

    def _more(self, text: str) -> tuple[str, str | None]:
        if not self._stop:
            if text:
                self._given.append(text)
            return text, None
        text = self._held + text
        ends = [(place + len(stop), place, stop) for stop in self._stop if (place := text.find(stop)) >= 0]
        found = min(ends, default=None)
        keep = found[1] if found else len(text) - self._begun(text)
        self._held = "" if found else text[keep:]
        self._given.append(text[:keep])
        return text[:keep], found[2] if found else None

    def _begun(self, text: str) -> int:
        """Characters at the end of a text that a stop string may begin with."""
        longest = min(len(text), max(map(len, self._stop)) - 1)
        return next((n for n in range(longest, 0, -1) if any(stop.startswith(text[-n:]) for stop in self._stop)), 0)
