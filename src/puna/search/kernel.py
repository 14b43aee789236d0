"""Compiled searches in an order of suffixes.

The suffixes that begin with the same tokens are a range of the order. Each further token of a text makes the range
narrower, by two binary searches for the token at that depth.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

END = -1
"""The node in which a text ends."""


@njit(cache=True, nogil=True, inline="always")
def _rank_at(
    suffixes: NDArray[np.uint32], tokens: NDArray[np.integer[Any]], rank_of: NDArray[np.int32], at: int, depth: int
) -> int:
    """The rank of a suffix's token at a depth; -1 behind the end of the part, which sorts first."""
    position = np.int64(suffixes[at]) + depth
    if position >= tokens.size:
        return -1
    token = tokens[position]
    return int(rank_of[token]) if token < rank_of.size else -1


@njit(cache=True, nogil=True)
def narrow(
    suffixes: NDArray[np.uint32],
    tokens: NDArray[np.integer[Any]],
    rank_of: NDArray[np.int32],
    first: int,
    end: int,
    depth: int,
    low: int,
    high: int,
) -> tuple[int, int]:
    """The suffixes of a range whose token at a depth has one of some ranks.

    Args:
        suffixes: (N,), where each suffix begins, in the order of the suffixes' ranks.
        tokens: (N,), ids.
        rank_of: (V,), the rank of each id.
        first: The range's first suffix; all of the range agree in their first `depth` tokens.
        end: That after its last one.
        depth: Tokens before the one that is looked at.
        low: The lowest rank.
        high: That after the highest rank.

    Returns:
        The first suffix, and that after the last.
    """
    left, right = first, end
    while left < right:
        middle = (left + right) >> 1
        if _rank_at(suffixes, tokens, rank_of, middle, depth) < low:
            left = middle + 1
        else:
            right = middle
    lower, right = left, end
    while left < right:
        middle = (left + right) >> 1
        if _rank_at(suffixes, tokens, rank_of, middle, depth) < high:
            left = middle + 1
        else:
            right = middle
    return lower, left


@njit(cache=True, nogil=True)
def _longer(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    longer = np.empty((2 * len(rows), rows.shape[1]), np.int64)
    longer[: len(rows)] = rows
    return longer


@njit(cache=True, nogil=True)
def find_ranges(
    suffixes: NDArray[np.uint32],
    tokens: NDArray[np.integer[Any]],
    rank_of: NDArray[np.int32],
    first_of: NDArray[np.int64],
    starts: NDArray[np.int64],
    edges_of: NDArray[np.int64],
    edges: NDArray[np.int64],
    behind: int,
) -> NDArray[np.int64]:
    """The ranges of suffixes that begin with a text, however it is cut into tokens.

    Args:
        suffixes: (N,)
        tokens: (N,)
        rank_of: (V,)
        first_of: (R + 1,), where the suffixes are that begin with each rank.
        starts: (S, 3), the first tokens of the text: their ranks, from and up to, and the node behind them. Only those
            in which the text ends have several ranks: an order of suffixes that begin differently is none by the rest.
        edges_of: (nodes + 1,), where each node's edges are.
        edges: (E, 3), further tokens: their ranks, from and up to, and the node behind them.
        behind: The rank of a token that comes before the text, so that the suffixes begin with it; or -1.

    Returns:
        (R, 3), disjoint: the number of the first token in `starts`, the range's first suffix and that after its last.
    """
    found = np.empty((64, 3), np.int64)
    stack = np.empty((64, 4), np.int64)
    count = 0
    for start in range(len(starts)):
        low, high = starts[start, 0], starts[start, 1]
        if behind < 0:
            depth, first, end = 1, first_of[low], first_of[high]
        else:
            depth = 2
            first, end = narrow(suffixes, tokens, rank_of, first_of[behind], first_of[behind + 1], 1, low, high)
        if first == end:
            continue
        stack[0, 0], stack[0, 1], stack[0, 2], stack[0, 3] = first, end, depth, starts[start, 2]
        top = 1
        while top:
            top -= 1
            first, end, depth, node = stack[top, 0], stack[top, 1], stack[top, 2], stack[top, 3]
            if node == END:
                if count == len(found):
                    found = _longer(found)
                found[count, 0], found[count, 1], found[count, 2] = start, first, end
                count += 1
                continue
            for edge in range(edges_of[node], edges_of[node + 1]):
                low, high = edges[edge, 0], edges[edge, 1]
                lower, upper = narrow(suffixes, tokens, rank_of, first, end, depth, low, high)
                if lower < upper:
                    if top == len(stack):
                        stack = _longer(stack)
                    stack[top, 0], stack[top, 1], stack[top, 2] = lower, upper, depth + 1
                    stack[top, 3] = edges[edge, 2]
                    top += 1
    return found[:count].copy()


@njit(cache=True, nogil=True)
def _reach(
    place: int,
    suffixes: NDArray[np.uint32],
    tokens: NDArray[np.integer[Any]],
    rank_of: NDArray[np.int32],
    first_of: NDArray[np.int64],
    tail_counts: NDArray[np.int64],
    starts_of: NDArray[np.int64],
    starts: NDArray[np.int64],
    edges_of: NDArray[np.int64],
    edges: NDArray[np.int64],
    stops_of: NDArray[np.int64],
    stops: NDArray[np.int64],
    within_of: NDArray[np.int64],
    within: NDArray[np.int64],
) -> int:
    """How far the text is found from one place on; -1 if not at all."""
    reached = -1
    for row in range(within_of[place], within_of[place + 1]):
        if tail_counts[within[row, 0]] < tail_counts[within[row, 1]]:
            reached = max(reached, within[row, 2])
    stack = np.empty((64, 4), np.int64)
    for start in range(starts_of[place], starts_of[place + 1]):
        first, end = first_of[starts[start, 0]], first_of[starts[start, 1]]
        if first == end:
            continue
        if starts[start, 2] < END:
            reached = max(reached, -2 - starts[start, 2])
            continue
        stack[0, 0], stack[0, 1], stack[0, 2], stack[0, 3] = first, end, 1, starts[start, 2]
        top = 1
        while top:
            top -= 1
            first, end, depth, node = stack[top, 0], stack[top, 1], stack[top, 2], stack[top, 3]
            for stop in range(stops_of[node], stops_of[node + 1]):
                low, high = stops[stop, 0], stops[stop, 1]
                lower, upper = narrow(suffixes, tokens, rank_of, first, end, depth, low, high)
                if lower == upper:
                    break
                reached = max(reached, stops[stop, 2])
            for edge in range(edges_of[node], edges_of[node + 1]):
                low, high = edges[edge, 0], edges[edge, 1]
                lower, upper = narrow(suffixes, tokens, rank_of, first, end, depth, low, high)
                if lower < upper:
                    if top == len(stack):
                        stack = _longer(stack)
                    stack[top, 0], stack[top, 1], stack[top, 2] = lower, upper, depth + 1
                    stack[top, 3] = edges[edge, 2]
                    top += 1
    return reached


@njit(cache=True, nogil=True)
def find_longest(
    suffixes: NDArray[np.uint32],
    tokens: NDArray[np.integer[Any]],
    rank_of: NDArray[np.int32],
    first_of: NDArray[np.int64],
    tail_counts: NDArray[np.int64],
    places: NDArray[np.int64],
    starts_of: NDArray[np.int64],
    starts: NDArray[np.int64],
    edges_of: NDArray[np.int64],
    edges: NDArray[np.int64],
    stops_of: NDArray[np.int64],
    stops: NDArray[np.int64],
    within_of: NDArray[np.int64],
    within: NDArray[np.int64],
) -> NDArray[np.int64]:
    """How far a text can be found from each of some places on.

    What is found from a place on is found from all later ones within it, too. So the next place that gets further is
    looked for in steps that double and then halve, and a long copy costs little more than a short one.

    Args:
        suffixes: (N,)
        tokens: (N,)
        rank_of: (V,)
        first_of: (R + 1,)
        tail_counts: (tails + 1,), how many suffixes begin with a token that has one of the first tails.
        places: (P,), the bytes of the text at which spans may begin.
        starts_of: (P + 1,), where each place's first tokens are.
        starts: (S, 3), their ranks, from and up to, and the node behind them; or -2 less the place up to which they
            have the text and at which a span may end.
        edges_of: (nodes + 1,), where each node's edges are.
        edges: (E, 3), further tokens: their ranks, from and up to, and the node behind them.
        stops_of: (nodes + 1,), where each node's stops are.
        stops: (Q, 3), places behind a node at which a span may end, from near to far: the ranks of the tokens that
            have the text from the node up to there, from and up to, and the place.
        within_of: (P + 1,), where each place's tails are.
        within: (W, 3), ranges of tails that have the text from a place on, from and up to, and up to where.

    Returns:
        (P,), the last place that is reached and at which a span may end, or -1.
    """
    reached = np.full(len(places), -1, np.int64)
    place = 0
    while place < len(places):
        end = _reach(
            place, suffixes, tokens, rank_of, first_of, tail_counts, starts_of, starts, edges_of, edges, stops_of,
            stops, within_of, within,
        )  # fmt: skip
        reached[place] = end
        covered = place + 1
        while covered < len(places) and places[covered] < end:
            covered += 1
        # The first place before `covered` that gets further than `end`; all places up to `low` do not.
        low, high, step = place, covered, 1
        while low + 1 < high:
            middle = min(low + step, high - 1) if high == covered else (low + high) >> 1
            further = _reach(
                middle, suffixes, tokens, rank_of, first_of, tail_counts, starts_of, starts, edges_of, edges, stops_of,
                stops, within_of, within,
            )  # fmt: skip
            if further > end:
                high = middle
            else:
                low, step = middle, 2 * step
        reached[place:high] = end
        place = high
    return reached


@njit(cache=True, nogil=True)
def keep_starts(suffixes: NDArray[np.signedinteger[Any]], width: int) -> int:
    """Keep those suffixes of a text of `width` bytes per token that begin with a token, as numbers of tokens.

    Args:
        suffixes: Changed: numbers of bytes in, numbers of tokens out, in the same order.
        width: Bytes per token.

    Returns:
        How many there are now.
    """
    count = 0
    for at in range(len(suffixes)):
        position = suffixes[at]
        if position % width == 0:
            suffixes[count] = position // width
            count += 1
    return count
