"""One example as documents of tokens: written by the template, cut to its limits, or dropped with a reason."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import NamedTuple

import numpy as np

from puna.chat.example import Example
from puna.chat.masks import Learn, Tokens, pairs_of_each, tokens_of_each
from puna.chat.template import ChatTemplate
from puna.core.errors import DataError, GenerateError, TokenizerError, UserError
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
        """The documents of an example; errors as of `write_each`."""
        return self.write_each([example])[0]

    def write_each(self, examples: Sequence[Example]) -> list[Outcome]:
        """The documents of examples; for many together the template's process and the tokenizer are asked seldom.

        Raises:
            DataError: One is a pair where conversations are learned, or the other way round.
        """
        outcomes: list[Outcome] = []
        for together in _together(examples, self.limits.characters):
            self._check(together)
            if len(together) == 1 and len(together[0].text) > self.limits.characters:
                outcomes.append(Outcome((), TOO_LONG))
            else:
                outcomes += map(self._outcome, self._marked(together))
        return outcomes

    def _check(self, examples: Sequence[Example]) -> None:
        if any(example.is_pair != self.pairs for example in examples):
            found, wanted = ("a conversation", "pairs") if self.pairs else ("a pair of answers", "conversations")
            raise DataError(
                f"an example is {found}, but the recipe learns from {wanted}",
                hint='pairs are for recipes with [finetune.preference], whose sources have format = "preferences"',
            )

    def _outcome(self, marked: list[Marked] | UserError) -> Outcome:
        if not isinstance(marked, list):
            return Outcome((), REFUSED, marked.message)
        fitted = fit(marked, self.limits, self.tokenizer.bos_id)
        return Outcome(fitted.documents, fitted.reason, "", fitted.tokens, fitted.targets)

    def _marked(self, examples: Sequence[Example]) -> list[list[Marked] | UserError]:
        try:
            if self.pairs:
                return [
                    pair if isinstance(pair, GenerateError) else [_mark(tokens, tokens) for tokens in pair]
                    for pair in pairs_of_each(self._chat, examples, now=DAY)
                ]
            each = tokens_of_each(self._chat, examples, learn=self.learn, now=DAY)
            answers = tokens_of_each(self._chat, examples, now=DAY) if self.learn == "everything" else each
        except (GenerateError, TokenizerError) as error:
            if len(examples) == 1:
                return [error]
            return [self._marked([example])[0] for example in examples]
        return [
            tokens
            if isinstance(tokens, GenerateError)
            else own
            if isinstance(own, GenerateError)
            else [_mark(tokens, own)]
            for tokens, own in zip(each, answers, strict=True)
        ]


def _together(examples: Sequence[Example], most: int) -> Iterator[Sequence[Example]]:
    """The examples in order, together up to this number of characters; a longer one by itself."""
    begin = size = 0
    for at, example in enumerate(examples):
        own = len(example.text)
        if at > begin and size + own > most:
            yield examples[begin:at]
            begin, size = at, 0
        size += own
    if begin < len(examples):
        yield examples[begin:]


def _mark(tokens: Tokens, answers: Tokens) -> Marked:
    return Marked(np.array(tokens.ids, np.int64), np.array(tokens.learned, bool), np.array(answers.learned, bool))
