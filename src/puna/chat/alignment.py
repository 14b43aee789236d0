"""Which tokens of a text hold characters that are asked for.

**By the bytes.** Tokens stand for the bytes of a text one after the other, control tokens for their own text. So a walk
along both finds the bytes of each token. A dummy prefix, a space that is not in the text, belongs to the word behind
it, and to no byte.

**By beginnings.** Some tokenizers lose bytes or change characters, so that the walk goes astray. Then the text is
encoded again up to each place in question: the tokens that both have in common lie before it. This is slower, and
counts to a part the whole of a word that only begins outside of it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from puna.tokenizer.sentencepiece import SentencePieceTokenizer
from puna.tokenizer.tokenizer import Tokenizer

Span = tuple[int, int]
"""Begin and end of a part of a text, in characters."""


def tokens_within(
    tokenizer: Tokenizer, text: str, ids: Sequence[int], spans: Sequence[Span], encode: Callable[[int], list[int]]
) -> list[bool]:
    """Of each token, whether it holds a character of the spans.

    Args:
        tokenizer: What encoded the text.
        text: All of it.
        ids: Its tokens, without a BOS that is not in the text.
        spans: Parts of the text, in their order, none of which overlap.
        encode: The ids of the text's first characters, as many as it is given.
    """
    content = text.encode()
    places = walk(tokenizer, content, ids)
    if places is None:
        return by_beginnings(ids, spans, encode)
    wanted = np.zeros(len(content) + 2, np.int64)
    place = byte = 0
    for begin, end in spans:
        first = byte + len(text[place:begin].encode())
        place, byte = end, first + len(text[begin:end].encode())
        wanted[1 + first : 1 + byte] = 1
    before = wanted.cumsum()
    # A token without a byte of its own, a dummy prefix, belongs to the byte behind it.
    begins, ends = places[:, 0], np.maximum(places[:, 1], places[:, 0] + 1)
    return (before[ends] > before[begins]).tolist()


def walk(tokenizer: Tokenizer, content: bytes, ids: Sequence[int]) -> NDArray[np.int64] | None:
    """Where each token is among the bytes of a text; None where they are not its bytes one after the other.

    Args:
        tokenizer: What encoded the text.
        content: The text in UTF-8.
        ids: Its tokens.

    Returns:
        Begin and end of each: (tokens, 2).
    """
    texts = tokenizer.token_bytes()
    each = [texts[token] or tokenizer.piece(token).encode() for token in ids]
    if tokenizer.space_prefix:
        _without_prefixes(tokenizer, content, ids, each)
    if b"".join(each) != content:
        return None
    sizes = np.fromiter(map(len, each), np.int64, len(each))
    ends = sizes.cumsum()
    return np.stack([ends - sizes, ends], axis=1)


def _without_prefixes(tokenizer: Tokenizer, content: bytes, ids: Sequence[int], each: list[bytes]) -> None:
    """Take the dummy prefixes off the bytes of tokens, in place: where the text goes on without them."""
    texts, after = tokenizer.token_bytes(), _prefixed(tokenizer)
    owed = [0, *(at for at, token in enumerate(ids, start=1) if not texts[token] or token in after)]
    last = place = 0
    for at in owed:
        place += sum(map(len, each[last:at]))
        last = at
        if at < len(ids) and texts[ids[at]][:1] == b" " and content.startswith(each[at][1:], place):
            each[at] = each[at][1:]


def _prefixed(tokenizer: Tokenizer) -> frozenset[int]:
    """The ordinary tokens behind which a dummy prefix stands."""
    each = isinstance(tokenizer, SentencePieceTokenizer) and tokenizer.prefix_each
    return frozenset(tokenizer.added.values()) if each else frozenset()


def by_beginnings(ids: Sequence[int], spans: Sequence[Span], encode: Callable[[int], list[int]]) -> list[bool]:
    """What `tokens_within` gives, found by encoding the text's beginnings; arguments as it has them."""
    found = [False] * len(ids)
    for begin, end in spans:
        if begin < end:
            first, until = common(ids, encode(begin)), encode(end)
            last = common(ids, until)
            last = min(len(ids), max(last, len(until)))  # the word in which it ends, if that is cut
            found[first:last] = [True] * (last - first)
    return found


def common(ones: Sequence[Any], others: Sequence[Any]) -> int:
    """How many elements two sequences begin with in common; two texts, how many characters."""
    pairs = zip(ones, others, strict=False)
    return next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(ones), len(others)))
