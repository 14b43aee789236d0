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
    wanted = bytearray(len(content) + 1)
    for begin, end in spans:
        first = len(text[:begin].encode())
        size = len(text[begin:end].encode())
        wanted[first : first + size] = b"\1" * size
    places = walk(tokenizer, content, ids)
    if places is None:
        return by_beginnings(ids, spans, encode)
    # A token without a byte of its own, a dummy prefix, belongs to the byte behind it.
    return [1 in wanted[begin : max(end, begin + 1)] for begin, end in places]


def walk(tokenizer: Tokenizer, content: bytes, ids: Sequence[int]) -> list[Span] | None:
    """Begin and end of each token among the bytes of a text; None where they are not its bytes one after the other.

    Args:
        tokenizer: What encoded the text.
        content: The text in UTF-8.
        ids: Its tokens.
    """
    texts, every = tokenizer.token_bytes(), tokenizer.space_prefix
    after = _prefixed(tokenizer)
    places: list[Span] = []
    at, owed = 0, every
    for token in ids:
        own = texts[token]
        control = not own
        own = own or tokenizer.piece(token).encode()
        if not control and owed and own[:1] == b" " and content.startswith(own[1:], at):
            own = own[1:]
        elif not content.startswith(own, at):
            return None
        places.append((at, at + len(own)))
        at += len(own)
        owed = every and (control or token in after)
    return places if at == len(content) else None


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
