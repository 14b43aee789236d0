"""A vocabulary in the order of its tokens' bytes, in which all tokens that begin alike stand side by side.

A token's rank is its place in that order; tokens of equal bytes, such as a letter and its byte, have one rank. So the
tokens that begin with given bytes are a range of ranks, and the suffixes of a text that begin with one of these tokens
are a range of an order of suffixes by ranks.
"""

from bisect import bisect_left
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from puna.tokenizer.tokenizer import Tokenizer

Range = tuple[int, int]
"""Ranks from the first on, up to and without the second."""


class Vocabulary:
    """The tokens by their bytes; control tokens, which have none, come before all others and have ranks of their own.

    Args:
        tokenizer: Whose ids the shards have.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        token_bytes = tokenizer.token_bytes()
        # What has no bytes is told apart by its id.
        keys = [(content, -1 if content else token) for token, content in enumerate(token_bytes)]
        order = sorted(set(keys))
        ranks = {key: rank for rank, key in enumerate(order)}
        self.tokens: list[bytes] = [content for content, _ in order]
        """The bytes of each rank."""
        self.longest = max(map(len, self.tokens))
        """Bytes of the longest token."""
        self.rank_of: NDArray[np.int32] = np.array([ranks[key] for key in keys], np.int32)
        """The rank of each id."""
        self.lengths: NDArray[np.int64] = np.array([len(token) for token in token_bytes], np.int64)
        """How many bytes each id has."""

    def beginning_with(self, prefix: bytes) -> Range:
        """The ranks of all tokens that begin with these bytes, of which there is at least one."""
        return bisect_left(self.tokens, prefix), bisect_left(self.tokens, _after(prefix))

    def equal_to(self, content: bytes) -> Range:
        """The rank of the tokens that are these bytes, of which there is at least one, as a range; or an empty one."""
        rank = bisect_left(self.tokens, content)
        return rank, rank + (rank < len(self.tokens) and self.tokens[rank] == content)

    @cached_property
    def tails(self) -> "Tails":
        """What all tokens end with: where a text may begin within one."""
        return Tails([(token[at:], rank, at) for rank, token in enumerate(self.tokens) for at in range(1, len(token))])


class Tails:
    """Ends of tokens, in the order of their bytes.

    Args:
        tails: The bytes of each, its token's rank, and at which byte of the token it begins.
    """

    def __init__(self, tails: list[tuple[bytes, int, int]]) -> None:
        tails.sort()
        self.texts = [text for text, _, _ in tails]
        self.ranks = [rank for _, rank, _ in tails]
        self.starts = [start for _, _, start in tails]
        """At which byte of its token each one begins."""
        self.longest = max(map(len, self.texts), default=0)

    def beginning_with(self, prefix: bytes) -> range:
        """The numbers of all that begin with these bytes, of which there is at least one."""
        return range(bisect_left(self.texts, prefix), bisect_left(self.texts, _after(prefix)))

    def equal_to(self, content: bytes) -> range:
        """The numbers of all that are these bytes."""
        return range(bisect_left(self.texts, content), bisect_left(self.texts, content + b"\0"))


def _after(prefix: bytes) -> bytes:
    """The first of all bytes that come behind those that begin with a prefix; no UTF-8 begins with 0xFF."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else b"\xff" * (len(prefix) + 1)
