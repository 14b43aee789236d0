"""One example as documents of tokens: written by the template, cut to its limits, or dropped with a reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import NamedTuple

import numpy as np

from puna.chat.example import Example
from puna.chat.masks import Learn, Tokens, pair_of, tokens_of
from puna.chat.template import ChatTemplate
from puna.core.errors import DataError, GenerateError, TokenizerError
from puna.finetune.token_files import Document
from puna.finetune.truncation import REFUSED, TOO_LONG, Limits, Marked, fit
from puna.tokenizer.tokenizer import Tokenizer

DAY = datetime(2026, 1, 31, 12)
"""The time in templates that write one: the same for all examples and on every day, so that equal data give equal
tokens."""


class Outcome(NamedTuple):
    """What became of an example."""

    documents: Sequence[Document]
    """Its documents: one, or the two of a pair; none where it is dropped."""
    reason: str = ""
    """Why it is dropped, a key of `puna.finetune.truncation.REASONS`."""
    sentence: str = ""
    """What the template said where it does not take the example."""
    cut_tokens: int = 0
    """Tokens that were cut from its prompts."""
    cut_targets: int = 0
    """Targets among them."""


@dataclass(frozen=True)
class Rendering:
    """How examples are written; it can be sent to other processes."""

    template: str
    """The chat template's source."""
    tokenizer: Tokenizer
    limits: Limits
    learn: Learn
    pairs: bool
    """Whether every example is a pair of answers."""

    @cached_property
    def _chat(self) -> ChatTemplate:
        return ChatTemplate(self.template, self.tokenizer)

    def write(self, example: Example) -> Outcome:
        """The documents of an example.

        Raises:
            DataError: It is a pair where conversations are learned, or the other way round.
        """
        if example.is_pair != self.pairs:
            found, wanted = ("a pair of answers", "conversations") if example.is_pair else ("a conversation", "pairs")
            raise DataError(
                f"an example is {found}, but the recipe learns from {wanted}",
                hint='pairs are for recipes with [finetune.preference], whose sources have format = "preferences"',
            )
        if len(example.text) > self.limits.characters:
            return Outcome((), TOO_LONG)
        try:
            marked = self._marked(example)
        except (GenerateError, TokenizerError) as error:
            return Outcome((), REFUSED, error.message)
        fitted = fit(marked, self.limits, self.tokenizer.bos_id)
        return Outcome(fitted.documents, fitted.reason, "", fitted.tokens, fitted.targets)

    def _marked(self, example: Example) -> list[Marked]:
        if self.pairs:
            return [_mark(tokens, tokens) for tokens in pair_of(self._chat, example, now=DAY)]
        tokens = tokens_of(self._chat, example, learn=self.learn, now=DAY)
        answers = tokens_of(self._chat, example, now=DAY) if self.learn == "everything" else tokens
        return [_mark(tokens, answers)]


def _mark(tokens: Tokens, answers: Tokens) -> Marked:
    return Marked(np.array(tokens.ids, np.int64), np.array(tokens.learned, bool), np.array(answers.learned, bool))
