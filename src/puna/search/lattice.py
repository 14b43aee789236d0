"""All ways to cut a text into tokens, of which the first may begin before the text and the last may end behind it.

So a text is found however the documents that have it were cut there: its own tokens are only the likeliest way.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from puna.search.kernel import END
from puna.search.pattern import Pattern
from puna.search.vocabulary import Vocabulary


class Lattice(NamedTuple):
    """The arguments of `puna.search.kernel.find_ranges`."""

    starts: NDArray[np.int64]
    """(S, 3), the first tokens."""
    edges_of: NDArray[np.int64]
    """(nodes + 1,), where each node's edges are."""
    edges: NDArray[np.int64]
    """(E, 3), the further tokens."""
    begins: NDArray[np.int64]
    """(S,), at which byte of the first token the text begins."""
    spaced: int
    """How many of `starts`, from the first on, begin with a space of the text: at the beginning of a document such a
    token has it from the tokenizer."""


def lattice_of(pattern: Pattern, vocabulary: Vocabulary) -> Lattice:
    """All ways to cut what is looked for into tokens."""
    edges: list[tuple[int, int, int]] = []
    edges_of = [0]
    first_edges = _edges(pattern, vocabulary, 0)
    for node in range(len(pattern.next)):
        edges += first_edges if node == 0 else [] if node == pattern.end else _edges(pattern, vocabulary, node)
        edges_of.append(len(edges))
    # A token's first byte says whether it begins with a space, so no range has tokens of both kinds.
    first_edges.sort(key=lambda edge: vocabulary.tokens[edge[0]][:1] != b" ")
    spaced = sum(vocabulary.tokens[low][:1] == b" " for low, _, _ in first_edges)
    tails = _tails(pattern, vocabulary)
    starts = [*first_edges, *((rank, rank + 1, node) for rank, node, _ in tails)]
    begins = [0] * len(first_edges) + [start for _, _, start in tails]
    return Lattice(_rows(starts, 3), np.array(edges_of), _rows(edges, 3), np.array(begins, np.int64), spaced)


def lattice_of_ids(ids: list[int], vocabulary: Vocabulary) -> Lattice:
    """One way only: these tokens."""
    ranks = vocabulary.rank_of[ids].tolist()
    nodes = [*range(1, len(ids)), END]
    edges = [(rank, rank + 1, node) for rank, node in zip(ranks, nodes, strict=True)]
    return Lattice(_rows(edges[:1], 3), np.arange(len(ids) + 1), _rows(edges, 3), np.zeros(1, np.int64), 0)


def _edges(pattern: Pattern, vocabulary: Vocabulary, node: int) -> list[tuple[int, int, int]]:
    """The tokens that may stand at a node, as ranges of ranks, and the node behind them."""
    edges = []
    stack = [(node, b"")]
    while stack:
        at, prefix = stack.pop()
        if at == pattern.end:
            low, high = vocabulary.beginning_with(prefix)
            edges.append((low, high, END))
            continue
        if prefix:
            low, high = vocabulary.equal_to(prefix)
            if low < high:
                edges.append((low, high, at))
        for byte, behind in pattern.next[at].items():
            longer = prefix + bytes([byte])
            low, high = vocabulary.beginning_with(longer)
            if low < high:
                stack.append((behind, longer))
    return edges


def _tails(pattern: Pattern, vocabulary: Vocabulary) -> list[tuple[int, int, int]]:
    """The tokens within which the text may begin: rank, node behind the token, byte at which the text begins."""
    tails = vocabulary.tails
    found = []
    stack = [(0, b"")]
    while stack:
        at, prefix = stack.pop()
        if at == pattern.end:
            found += [(tails.ranks[tail], END, tails.starts[tail]) for tail in tails.beginning_with(prefix)]
            continue
        if prefix:
            found += [(tails.ranks[tail], at, tails.starts[tail]) for tail in tails.equal_to(prefix)]
        for byte, behind in pattern.next[at].items():
            longer = prefix + bytes([byte])
            if len(tails.beginning_with(longer)):
                stack.append((behind, longer))
    return found


def _rows(rows: Sequence[tuple[int, ...]], width: int) -> NDArray[np.int64]:
    return np.array(rows, np.int64).reshape(-1, width)
