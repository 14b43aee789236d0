"""Where spans of a text may begin and end, and the tokens there: what the search for the longest spans needs."""

import unicodedata
from bisect import bisect_right
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from puna.search.vocabulary import Range, Tails, Vocabulary


class Places(NamedTuple):
    """The arguments of `puna.search.kernel.find_longest`, whose nodes are the bytes of the text."""

    places: NDArray[np.int64]
    """(places,), the byte at which each span begins."""
    starts_of: NDArray[np.int64]
    starts: NDArray[np.int64]
    edges_of: NDArray[np.int64]
    edges: NDArray[np.int64]
    stops_of: NDArray[np.int64]
    stops: NDArray[np.int64]
    within_of: NDArray[np.int64]
    within: NDArray[np.int64]


def word_edges(text: str) -> list[int]:
    """Where words begin or end, as numbers of characters: all places that are not between two letters or digits.

    Scripts that write no spaces between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) may be cut anywhere.
    """
    inner = [_is_of_a_word(character) for character in text]
    return [
        place for place in range(len(text) + 1) if not 0 < place < len(text) or not (inner[place - 1] and inner[place])
    ]


def _is_of_a_word(character: str) -> bool:
    """Whether it is a letter, a digit or a mark on one, of a script that writes spaces between words."""
    return (character.isalnum() or unicodedata.category(character)[0] == "M") and not _unspaced(character)


def _unspaced(character: str) -> bool:
    code = ord(character)
    return code >= 0x0E00 and any(first <= code <= last for first, last in _UNSPACED)


_UNSPACED = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF), (0x20000, 0x3FFFF),
)  # fmt: skip


def word_tails(vocabulary: Vocabulary) -> Tails:
    """The ends of tokens at which a word begins within the token."""
    tails: list[tuple[bytes, int, int]] = []
    for rank, token in enumerate(vocabulary.tokens):
        for at in range(1, len(token)):
            # The byte is the first of a character that is not the second or a later one of a word.
            if token[at] & 0xC0 == 0x80:
                continue
            before = token[:at].decode("utf-8", errors="replace")[-1]
            behind = token[at:].decode("utf-8", errors="replace")[0]
            if len(word_edges(before + behind)) == 3:
                tails.append((token[at:], rank, at))
    return Tails(tails)


def places_of(text: str, vocabulary: Vocabulary, tails: Tails) -> Places:
    """The places of a text at which words begin, and all tokens that may stand from there on.

    Args:
        text: Unicode text.
        vocabulary: Of the index.
        tails: Its `word_tails`.
    """
    content = text.encode()
    byte_of = np.cumsum([0, *(len(character.encode()) for character in text)]).tolist()
    marks = word_edges(text)
    ends = [byte_of[mark] for mark in marks if mark and not text[mark - 1].isspace()]
    begins = [byte_of[mark] for mark in marks if mark < len(text) and not text[mark].isspace()]
    edges: list[tuple[int, ...]] = []
    stops: list[tuple[int, ...]] = []
    edges_of, stops_of = [0], [0]
    for node in range(len(content)):
        edges += [(*ranks, behind) for ranks, behind in _whole(content, node, vocabulary)]
        edges_of.append(len(edges))
        stops += [(*ranks, stop) for ranks, stop in _stops(content, node, ends, vocabulary)]
        stops_of.append(len(stops))
    # The text's end has neither.
    edges_of.append(len(edges))
    stops_of.append(len(stops))
    starts: list[tuple[int, ...]] = []
    within: list[tuple[int, ...]] = []
    starts_of, within_of, end_set = [0], [0], set(ends)
    for place in begins:
        starts += [(*ranks, behind) for ranks, behind in _whole(content, place, vocabulary)]
        starts += [(*ranks, -2 - stop) for ranks, stop in _stops(content, place, ends, vocabulary)]
        whole, partly = _within(content, place, end_set, tails)
        starts += whole
        within += partly
        starts_of.append(len(starts))
        within_of.append(len(within))
    arrays = [np.array(values, np.int64) for values in (begins, starts_of, edges_of, stops_of, within_of)]
    rows = [np.array(values, np.int64).reshape(-1, 3) for values in (starts, edges, stops, within)]
    return Places(arrays[0], arrays[1], rows[0], arrays[2], rows[1], arrays[3], rows[2], arrays[4], rows[3])


def _whole(content: bytes, node: int, vocabulary: Vocabulary) -> list[tuple[Range, int]]:
    """The tokens that are the text from a byte on, and where they end."""
    found = []
    for end in range(node + 1, min(len(content), node + vocabulary.longest) + 1):
        low, high = vocabulary.beginning_with(content[node:end])
        if low == high:
            break
        equal = vocabulary.equal_to(content[node:end])
        if equal[0] < equal[1]:
            found.append((equal, end))
    return found


def _stops(content: bytes, node: int, ends: list[int], vocabulary: Vocabulary) -> list[tuple[Range, int]]:
    """The tokens that have the text from a byte up to a place where a span may end, and more or not."""
    found = []
    for number in range(bisect_right(ends, node), len(ends)):
        end = ends[number]
        ranks = vocabulary.beginning_with(content[node:end])
        if end - node > vocabulary.longest or ranks[0] == ranks[1]:
            break
        found.append((ranks, end))
    return found


def _within(
    content: bytes, place: int, ends: set[int], tails: Tails
) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """The tokens within which a word begins that is the text's from a byte on.

    Returns:
        Those that end in the text, as starts; and as ranges of tails those that have the text up to where a span may
        end, and that place.
    """
    whole: list[tuple[int, ...]] = []
    partly: list[tuple[int, ...]] = []
    for end in range(place + 1, min(len(content), place + tails.longest) + 1):
        beginning = tails.beginning_with(content[place:end])
        if not beginning:
            break
        ranks = [tails.ranks[tail] for tail in tails.equal_to(content[place:end])]
        whole += [(rank, rank + 1, end) for rank in ranks]
        if end in ends:
            partly.append((beginning.start, beginning.stop, end))
    return whole, partly
