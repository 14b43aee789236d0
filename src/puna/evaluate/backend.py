"""What evaluation asks of whatever computes a model: likelihoods of token ids, and texts."""

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from puna.evaluate.example import Written
from puna.infer.requests import Request, Score
from puna.tokenizer.tokenizer import Tokenizer

Pair: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]
"""Token ids of a context, at least one, and of what is scored after it."""


class Backend(Protocol):
    """A model that is evaluated: in this process, in training, or behind an endpoint."""

    title: str
    """For people and records: what computes."""
    tokenizer: Tokenizer
    longest: int
    """Tokens of a context and a continuation at most; the last one is only looked at, so a pair may have one more."""
    exact: bool
    """Whether a score's bits depend on its own tokens alone, in any company."""

    def score(self, pairs: Sequence[Pair]) -> list[Score]:
        """How likely each continuation is; beginnings that pairs share are computed once where that is possible."""
        ...

    def write(self, requests: Sequence[Request]) -> list[list[Written]]:
        """The samples of each request."""
        ...
