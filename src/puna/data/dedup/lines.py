"""Lines that occur more than once, by their hashes: CCNet removes each such line everywhere.

A line counts once for each document, as in cc_net (Wenzek et al. 2020, section 3.1). Memory of a task: 9 bytes
for each line of its partition, and 17 for each that occurs more than once.
"""

import numpy as np
from numpy.typing import NDArray

from puna.data.dedup.edges import group_starts


def repeated(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The hashes that occur more than once, sorted, each once.

    Args:
        hashes: One for each line of a partition; they are sorted in place.
    """
    hashes.sort()
    again = hashes[1:][hashes[1:] == hashes[:-1]]
    return again[group_starts(again)]
