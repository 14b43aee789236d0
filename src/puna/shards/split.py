"""Which documents are held out: decided by their ids alone, so that new documents do not move others between splits."""

import re
from hashlib import sha256

from puna.config.data import Source

TRAIN, HELDOUT = "train", "heldout"
SPLITS = (HELDOUT, TRAIN)
"""The splits; of duplicates, the one in the first split stays."""


def is_heldout(source: Source, name: str, identity: str) -> bool:
    """Whether the document `identity` of the source called `name` is held out."""
    if source.heldout_pattern:
        return re.search(source.heldout_pattern, identity) is not None
    return hash_fraction(f"{name}/{identity}") < source.heldout_fraction


def hash_fraction(text: str) -> float:
    """A number in [0, 1) that depends on `text` only, evenly spread."""
    return int.from_bytes(sha256(text.encode(errors="replace")).digest()[:8], "big") / 2**64
