"""Texts in which some tokens are found before anything else, encoded between these: many stretches at one time.

Control tokens in what a chat template writes are such tokens. What lies between two of them is encoded like a text of
its own, so that the ids of a conversation are those of its stretches with the tokens between them, and stretches of
many conversations go through the fast ways of `Tokenizer.encode_batch` together.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import chain, zip_longest


def any_of(texts: Iterable[str]) -> re.Pattern[str] | None:
    """Finds any of these texts, the longest where several begin at one place; None where there are none."""
    longest_first = sorted(texts, key=lambda text: (-len(text), text))
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None


class Between:
    """Encodes texts between tokens that are found in them.

    Args:
        tokens: The ids of these tokens by their texts, none of which is empty.
    """

    def __init__(self, tokens: Mapping[str, int]) -> None:
        self._tokens = tokens
        self._found = any_of(tokens)

    def encode(self, texts: Iterable[str], encode: Callable[[list[str]], list[list[int]]]) -> list[list[int]]:
        """The ids of each text.

        Args:
            texts: Unicode.
            encode: The ids of each of many stretches, none of which is empty or holds one of the tokens.
        """
        if self._found is None:
            cut = [([text], list[str]()) for text in texts]
        else:
            cut = [(self._found.split(text), self._found.findall(text)) for text in texts]
        ids = iter(encode([stretch for stretches, _ in cut for stretch in stretches if stretch]))
        return [
            [
                *chain.from_iterable(
                    (*(next(ids) if stretch else ()), *(() if token is None else (self._tokens[token],)))
                    for stretch, token in zip_longest(stretches, tokens)
                )
            ]
            for stretches, tokens in cut
        ]
