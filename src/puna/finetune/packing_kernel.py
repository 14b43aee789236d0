"""Compiled best fit: each item goes into the fullest bin that has room for it."""

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def best_fit(lengths: NDArray[np.int64], order: NDArray[np.int64], capacity: int) -> tuple[NDArray[np.int64], int]:
    """The bin of each item, and how many bins there are.

    Bins with equal room are a stack, and a binary tree over all amounts of room finds the smallest one that suffices,
    so that an item takes log2(capacity) steps.

    Args:
        lengths: Of each item, from 1 to `capacity`.
        order: In which the items are placed.
        capacity: Of a bin.
    """
    leaves = 1
    while leaves <= capacity:
        leaves *= 2
    filled = np.zeros(2 * leaves, dtype=np.bool_)
    top = np.full(capacity + 1, -1, dtype=np.int64)  # of each amount of room, the newest bin that has it
    below = np.full(lengths.size, -1, dtype=np.int64)  # of each bin, the next one in its stack
    bins = np.empty(lengths.size, dtype=np.int64)
    count = 0
    for item in order:
        room = lengths[item]
        node = leaves + room
        if not filled[node]:
            while node > 1 and not (node % 2 == 0 and filled[node + 1]):
                node //= 2
            if node > 1:
                node += 1
                while node < leaves:
                    node *= 2
                    if not filled[node]:
                        node += 1
        if node > 1:
            room = node - leaves
            place = top[room]
            top[room] = below[place]
            if top[room] < 0:
                filled[node] = False
                while node > 1:
                    node //= 2
                    filled[node] = filled[2 * node] or filled[2 * node + 1]
        else:
            place, room = count, capacity
            count += 1
        bins[item] = place
        room -= lengths[item]
        if room > 0:
            below[place] = top[room]
            top[room] = place
            node = leaves + room
            while node >= 1 and not filled[node]:
                filled[node] = True
                node //= 2
    return bins, count
