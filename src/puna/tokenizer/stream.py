"""Turns token ids into text as they come, never half a character."""

import codecs

from puna.tokenizer.tokenizer import Tokenizer


class TextStream:
    """Decodes a continuation of a text token by token; bytes are held back until a character is whole.

    Args:
        tokenizer: The tokenizer of the ids.
        starts_text: Whether the ids begin a text, so that the dummy prefix is taken off, or continue one.
    """

    def __init__(self, tokenizer: Tokenizer, *, starts_text: bool = False) -> None:
        self._bytes_of = tokenizer.bytes_of
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._at_start = starts_text and tokenizer.space_prefix

    def push(self, token: int) -> str:
        """The text that this token completes; it may be empty.

        Raises:
            TokenizerError: The id is not in the vocabulary.
        """
        content = self._bytes_of(token)
        if self._at_start and content:
            content = content.removeprefix(b" ")
            self._at_start = False
        return self._decoder.decode(content)

    def finish(self) -> str:
        """The rest of the text at the end: U+FFFD for a character that was never completed."""
        return self._decoder.decode(b"", final=True)
