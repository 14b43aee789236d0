"""Bytes that low-rank updates and frozen matrices of integers read and write beside their products; no torch.

Read beside `puna.model.lora`, `puna.finetune.noise` and `puna.ops.packed`. Bytes of operators that are not compiled are
counted one by one, and again by the tests; of compiled code they are those of the kernels that it is meant to be.
"""

from dataclasses import dataclass

from puna.plan.layout import Share
from puna.plan.learning import Layer, layers_of

_DRAWN = 112
"""Per number that may be dropped: bytes read and written by `puna.ops.random_bits.streams`, which is never compiled."""
_EAGER_DROPOUT = {2: (22, 9), 4: (30, 17)}
"""By bytes of a number, per number that may be dropped, forward and backward, beside the drawing."""
_EAGER_MAGNITUDES = {2: (12, 34), 4: (8, 24)}
"""The same, per output that is scaled to a norm of its own (DoRA)."""
_EAGER_NORMS = {2: 30, 4: 24}
"""The same, per weight whose row's norm is taken."""
_UNPACK = {("int8", 2): 27, ("int8", 4): 21, ("int4", 2): 39, ("int4", 4): 33}
"""By how it is kept and bytes of the number that is made of it, per element of a frozen matrix of integers."""


@dataclass(frozen=True)
class UpdateBytes:
    """The updates of a block, on average over all blocks."""

    forward: float = 0.0
    """Bytes read and written."""
    backward: float = 0.0
    products: float = 0.0
    """FLOPs of the products that norms of rows are taken of, once per pass and not per token."""


def update_bytes(share: Share) -> UpdateBytes:
    """What the updates of a block read and write in a pass, and the products that do not depend on its tokens."""
    forward = backward = products = 0.0
    for _, layer in share.learning.updates():
        more = _of_layer(share, layer)
        forward, backward, products = forward + more.forward, backward + more.backward, products + more.products
    layers = share.recipe.model.n_layers
    return UpdateBytes(forward / layers, backward / layers, products / layers)


def _of_layer(share: Share, layer: Layer) -> UpdateBytes:
    lora, c, compiled = share.learning.lora, share.matrix_bytes, share.recipe.train.compile
    if lora is None:
        return UpdateBytes()
    inputs, outputs = (share.tokens * width / share.tensor for width in (layer.inputs, layer.outputs))
    # What B makes is scaled and added; backward its gradient is scaled, and those of both inputs are added up.
    forward, backward = (3 if compiled else 5) * c * outputs, 2 * c * outputs + (1 if compiled else 3) * c * inputs
    if lora.dropout:
        dropped = dropped_bytes(share)
        forward, backward = forward + dropped[0] * inputs, backward + dropped[1] * inputs
    if not lora.dora:
        return UpdateBytes(forward, backward)
    scaled = (c, 3 * c) if compiled else _EAGER_MAGNITUDES[c]
    size = layer.size / share.tensor
    if share.packed_bytes:
        norms = _UNPACK[share.learning.base, 4] + (8 if compiled else _EAGER_NORMS[4])
    else:
        norms = 4 + c if compiled else _EAGER_NORMS[c]
    return UpdateBytes(
        forward + scaled[0] * outputs + norms * size, backward + scaled[1] * outputs, 2.0 * lora.rank * size
    )


def dropped_bytes(share: Share) -> tuple[int, int]:
    """Bytes read and written per number that may be dropped, forward and backward."""
    c = share.matrix_bytes
    # Compiled: the bits and the number are read, the number and whether it stays are written.
    forward, backward = (4 + 2 * c + 1, c + 1) if share.recipe.train.compile else _EAGER_DROPOUT[c]
    return _DRAWN + forward, backward


def halves_dropped(share: Share) -> tuple[float, float]:
    """Bytes of a block for dropout behind its two halves (`finetune.dropout`), forward and backward."""
    if share.recipe.finetune is None or not share.recipe.finetune.dropout:
        return 0.0, 0.0
    numbers, (forward, backward) = 2 * share.tokens * share.recipe.model.dim / share.tensor, dropped_bytes(share)
    return forward * numbers, backward * numbers


def unpacked(share: Share) -> float:
    """Bytes read and written to make floats of a block's frozen matrices of integers, once forward, once backward."""
    if not share.packed_bytes:
        return 0.0
    each = _UNPACK[share.learning.base, share.matrix_bytes]
    return float(each * sum(layer.size for layer in layers_of(share.recipe.model)))


def gains_spared(share: Share) -> float:
    """Bytes that a block's norms do not read and write backward where their gains do not learn."""
    config, c = share.recipe.model, share.matrix_bytes
    learned = share.learned_gains[0] / (share.norms * config.n_layers)
    width = 2 * config.dim + ((config.n_heads + config.n_kv_heads) * config.head_dim if config.qk_norm else 0)
    return (1 - learned) * (1 if share.recipe.train.compile else 4) * c * share.tokens * width / share.tensor
