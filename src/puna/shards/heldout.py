"""Batches of held-out text for validation, with the bytes that each target stands for."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from puna.shards.shards import TokenShards

IGNORE = -1
"""Target at a position that is not scored."""


@dataclass(frozen=True)
class HeldoutBatch:
    """Sequences of held-out text."""

    inputs_BT: NDArray[np.int64]
    targets_BT: NDArray[np.int64]
    """The next token; `IGNORE` after the end, and at BOS, which is not predicted."""
    bytes_BT: NDArray[np.int64]
    """Bytes of text that the target stands for."""


def heldout_batches(
    shards: TokenShards,
    context: int,
    rows: int,
    token_bytes: list[int],
    *,
    max_tokens: int | None,
    space_prefix: bool,
) -> Iterator[HeldoutBatch]:
    """Windows of `context` tokens that do not overlap, `rows` at a time.

    Args:
        shards: The held-out shards of one source.
        context: Tokens per window (T).
        rows: Windows per batch; the last batch may have fewer.
        token_bytes: Bytes that each id stands for.
        max_tokens: At most this many tokens, in windows spread evenly over the split; None for every token.
        space_prefix: Whether the first piece of a document holds a space that is not in the text. It then counts one
            byte less, so that over a whole split the bytes are exactly the text's.
    """
    lengths = np.asarray(token_bytes, dtype=np.int64)
    windows = -(-(shards.tokens - 1) // context)
    wanted = windows if max_tokens is None else min(windows, max(1, max_tokens // context))
    chosen = np.arange(wanted) * windows // wanted
    for start in range(0, wanted, rows):
        yield _batch(shards, chosen[start : start + rows], context, lengths, space_prefix)


def _batch(
    shards: TokenShards, windows: NDArray[np.int64], context: int, lengths: NDArray[np.int64], space_prefix: bool
) -> HeldoutBatch:
    inputs = np.full((len(windows), context), shards.bos_id, dtype=np.int64)
    targets = np.full((len(windows), context), IGNORE, dtype=np.int64)
    for row, window in enumerate(windows):
        start = int(window) * context
        tokens = shards.read(start, min(context + 1, shards.tokens - start))
        inputs[row, : len(tokens) - 1] = tokens[:-1]
        targets[row, : len(tokens) - 1] = tokens[1:]
    if shards.bos_id != shards.eos_id:
        targets[targets == shards.bos_id] = IGNORE
    scored = targets != IGNORE
    n_bytes = np.where(scored, lengths[np.maximum(targets, 0)], 0)
    if space_prefix:
        n_bytes -= scored & (inputs == shards.bos_id) & (n_bytes > 0)
    return HeldoutBatch(inputs, targets, n_bytes)
