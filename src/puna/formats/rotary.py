"""The order of the rows of wq and wk, which differs between the formats without any sign of it.

A rotary pair is rows i and i + H/2 of a head in Puna and Hugging Face (halves), rows 2i and 2i + 1 in Meta's original,
EasyLM, GGUF's `llama` and llama2.c (neighbours). Both are the same model after a permutation of the rows of each head;
values and the output projection stay (docs/decisions/0002).
"""

from torch import Tensor


def to_neighbours(w: Tensor, heads: int) -> Tensor:
    """Rows in halves, (heads x H, ...), as rows in pairs of neighbours. `heads` is K for wk, not N."""
    return w.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)


def to_halves(w: Tensor, heads: int) -> Tensor:
    """Rows in pairs of neighbours, (heads x H, ...), as rows in halves."""
    return w.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2)
