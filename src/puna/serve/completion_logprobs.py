"""Log-probabilities in the form of OpenAI's completions: four lists, one entry for each token."""

from collections.abc import Iterable
from typing import Any

from puna.infer.requests import Token
from puna.serve.token_names import names_of
from puna.tokenizer.stream import TextStream
from puna.tokenizer.tokenizer import Tokenizer


class LogprobLists:
    """Writes the lists of a text that grows.

    `text_offset` is where a token begins in the choice's text, in characters: for a part of a character where that
    begins, and for a token of a stop text, which is not in the text, where it would begin.

    Args:
        tokenizer: The model's.
        best: Whether the likeliest tokens are told.
        starts_text: Whether the text begins with the next token, or goes on behind a prompt.
        offset: Where it begins.
    """

    def __init__(self, tokenizer: Tokenizer, *, best: bool, starts_text: bool, offset: int = 0) -> None:
        self._vocabulary, self._names, self._best = tokenizer.vocab_size, names_of(tokenizer), best
        self._stream = TextStream(tokenizer, starts_text=starts_text)
        self.offset = offset

    def write(self, tokens: Iterable[Token]) -> dict[str, Any]:
        """The lists of the next tokens; a prompt's first has no log-probability."""
        lists: dict[str, list[Any]] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        for token in tokens:
            lists["tokens"].append(self._names[token.id])
            lists["token_logprobs"].append(token.logprob)
            lists["top_logprobs"].append(None if token.logprob is None else self._names.best(token))
            lists["text_offset"].append(self.offset)
            if token.id < self._vocabulary:
                self.offset += len(self._stream.push(token.id))
        return lists if self._best else {**lists, "top_logprobs": None}
