"""Documents whose texts are equal in NFC, by 128-bit hashes: any two of 10^12 texts share theirs in 1 of 10^15 cases.

Memory of a task: at most 80 bytes for each document of its partition.
"""

import hashlib

import numpy as np

from puna.data.dedup.edges import PAIR, pairs_of
from puna.data.dedup.shuffle import Rows
from puna.data.text.words import composed

EXACT = np.dtype([("high", "<u8"), ("low", "<u8"), ("number", "<u8")])
"""The two halves of a text's hash and its document's number. Partitioned by `high`."""


def text_key(text: str) -> tuple[int, int]:
    """The halves of the 128-bit BLAKE2b hash of a text in NFC: canonically equivalent texts are equal (UAX #15)."""
    digest = hashlib.blake2b(composed(text).encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


def duplicates(rows: Rows, *, within: bool) -> Rows:
    """Each duplicate document with the one that is kept (`PAIR`), in the order of the texts' hashes.

    Args:
        rows: All rows (`EXACT`) of a partition; their order does not matter.
        within: Whether only texts of the same source, bits 56 to 62 of the number, count as equal.
    """
    if not len(rows):
        return np.empty(0, dtype=PAIR)
    sources = rows["number"] >> np.uint64(56) & np.uint64(0x7F if within else 0)
    order = np.lexsort((rows["number"], sources, rows["low"], rows["high"]))
    rows, sources = rows[order], sources[order]
    first = np.ones(len(rows), dtype=bool)
    first[1:] = sources[1:] != sources[:-1]
    for field in ("high", "low"):
        first[1:] |= rows[field][1:] != rows[field][:-1]
    places = np.flatnonzero(first)
    kept = rows["number"][np.repeat(places, np.diff(places, append=len(rows)))]
    return pairs_of(rows["number"][~first], kept[~first])
