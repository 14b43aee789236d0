"""What one block keeps for its backward pass, tensor by tensor, under each policy of recomputation; no torch.

Read beside `puna.model.llama`: a line here is a tensor there. All is bytes on one device. Widths: D model, N query
heads, K key and value heads, H head, F feed-forward. Under tensor parallelism the stream and what norms make of it are
split over the sequence, heads and F over the devices; what is gathered for a matrix product is whole (Korthikanti et
al. 2022). Under context parallelism every device holds the keys and values of all.
"""

import math
from dataclasses import dataclass

from puna.plan.layout import CPU, Share
from puna.plan.learning import Layer, layers_of

BLOCKED_FEWEST = 256
"""Tokens of a sequence from which on float32 on a CPU runs by blocks of queries (`puna.ops.attention`)."""
BLOCKED_QUERIES = 128
"""Queries of such a block (`puna.ops.blocked`)."""


@dataclass(frozen=True)
class Term:
    """One thing that takes memory."""

    name: str
    bytes: int


def total(terms: list[Term]) -> int:
    """Bytes of all terms."""
    return sum(term.bytes for term in terms)


@dataclass(frozen=True)
class _Sizes:
    """Bytes of the tensors of one block, each in the dtype of the matrix products unless it says float32."""

    stream: int
    """M x D, the stream for this device's part of the sequence."""
    stream32: int
    """The same in float32, which a norm reads."""
    gathered: int
    """M x D for the whole sequence, which a linear layer reads."""
    queries: int
    own_keys: int
    keys: int
    """Keys and values of all devices of a context group."""
    hidden: int
    """M x F, one tensor of the feed-forward network."""
    statistics: int
    """The numbers per token that a norm keeps, float32."""
    sums: int
    """log-sum-exp of every row of attention, which every kernel keeps, float32."""
    queries32: int
    own_keys32: int


def sizes(share: Share) -> _Sizes:
    """The tensors of the recipe's block on one device."""
    config, width, tokens, tensor = share.recipe.model, share.matrix_bytes, share.tokens, share.tensor
    stream, queries = tokens * config.dim // tensor, tokens * config.n_heads * config.head_dim // tensor
    keys = tokens * config.n_kv_heads * config.head_dim // tensor
    return _Sizes(
        stream=width * stream,
        stream32=4 * stream,
        gathered=width * tokens * config.dim,
        queries=width * queries,
        own_keys=width * keys,
        keys=width * keys * share.context,
        hidden=width * tokens * config.ffn_dim // tensor,
        statistics=(4 if config.norm == "rms" else 8) * tokens // tensor,
        sums=4 * tokens * config.n_heads // tensor,
        queries32=4 * queries,
        own_keys32=4 * keys,
    )


def blocked_attention(share: Share) -> bool:
    """Whether attention runs in Puna's own operator for CPUs."""
    length = share.recipe.model.context // (1 if share.context == 1 else 2 * share.context)
    return share.kind == CPU and share.recipe.train.precision == "fp32" and length >= BLOCKED_FEWEST


def kept_in_eager(share: Share) -> list[Term]:
    """All that autograd keeps of a block that runs operator by operator."""
    s = sizes(share)
    terms = [
        Term("stream in float32, for both norms", 2 * s.stream32),
        Term("normalised stream before the gains", 2 * s.stream * _gains_learn(share)),
        Term("scales of the norms", 2 * s.statistics),
        Term("inputs of wq, wk, wv and of w1, w3", _shared_inputs(share)),
        *_attention(share),
        Term("w1's output, silu of it, w3's output, their product", (3 + _input_read(share, "w2")) * s.hidden),
        *_of_updates(share, compiled=False),
    ]
    if share.recipe.model.qk_norm:
        normed = s.queries32 + s.own_keys32 + _gains_learn(share) * (s.queries + s.own_keys)
        terms.append(Term("queries and keys for their norms", normed + 2 * s.statistics))
    return terms


def kept_compiled(share: Share) -> list[Term]:
    """What a compiled block keeps: the inputs of products and attention, and of cheap operators that are recomputed.

    The compiler never recomputes the input of a matrix product of the backward pass (torch's min-cut partitioner); on a
    CPU it is told to, so there the plan counts more than is kept (`puna.parallel.recompute`).
    """
    s = sizes(share)
    terms = [
        Term("stream before and between the halves", 2 * s.stream),
        Term("scales of the norms", 2 * s.statistics),
        Term("inputs of wq, wk, wv and of w1, w3", _shared_inputs(share)),
        *_attention(share),
        Term("outputs of w1 and w3, input of w2", (2 + _input_read(share, "w2")) * s.hidden),
        *_of_updates(share, compiled=True),
    ]
    if share.recipe.model.qk_norm:
        terms.append(Term("queries and keys for their norms", s.queries + s.own_keys + 2 * s.statistics))
    return terms


def kept_by_llama(share: Share) -> list[Term]:
    """What the policy `llama` keeps: the block's input, outputs of linear layers and of attention (section 2.4)."""
    s = sizes(share)
    terms = [
        Term("stream before the block", s.stream),
        Term("outputs of wq, wk and wv", s.queries + 2 * s.own_keys),
        Term("output of attention", s.queries + s.sums),
        Term("output of wo", s.gathered),
        Term("outputs of w1 and w3", 2 * s.hidden),
    ]
    if share.learning.lora is not None:
        updated = [layer for layer, _ in _updated(share)]
        products = sum(_low(share) + _output(share, layer) for layer in updated)
        terms.append(Term("outputs of the updates' matrices", products))
        if share.learning.lora.dora:
            # Under this policy the product of B and A is one of the products whose outputs are kept.
            terms.append(Term("products of B and A for the norms of rows", sum(4 * layer.size for layer in updated)))
    if share.tensor > 1:
        terms.append(
            Term("what travelled: inputs of wq and w1 gathered, output of wo scattered", 2 * s.gathered + s.stream)
        )
    if share.context > 1:
        terms.append(Term("keys and values of all devices", 2 * s.keys))
    return terms


def _updated(share: Share) -> list[tuple[Layer, str]]:
    """The layers with an update in the last block, which stands for all, and the inputs that they read."""
    last = share.recipe.model.n_layers - 1
    read = {"wq": "attention", "wk": "attention", "wv": "attention", "w1": "feed_forward", "w3": "feed_forward"}
    return [
        (layer, read.get(layer.name, layer.name))
        for layer in layers_of(share.recipe.model)
        if layer.in_block(last) in share.learning.updated
    ]


def _input_read(share: Share, *names: str) -> bool:
    """Whether the gradient of what a layer learns reads the layer's input; with dropout that is another tensor."""
    last, learning = share.recipe.model.n_layers - 1, share.learning
    layers = [layer.in_block(last) for layer in layers_of(share.recipe.model) if layer.name in names]
    updated = learning.lora is not None and not learning.lora.dropout
    return any(f"{layer}.weight" in learning.whole or (updated and layer in learning.updated) for layer in layers)


def _shared_inputs(share: Share) -> int:
    """Bytes of the inputs of wq, wk, wv and of w1, w3 that a weight's gradient reads."""
    return sizes(share).gathered * (_input_read(share, "wq", "wk", "wv") + _input_read(share, "w1", "w3"))


def _gains_learn(share: Share) -> bool:
    """Whether the gains of the last block's norms learn, which stands for all."""
    return f"layers.{share.recipe.model.n_layers - 1}.ffn_norm.weight" in share.learning.whole


def _low(share: Share) -> int:
    """Bytes of what A makes of the tokens."""
    return 0 if share.learning.lora is None else share.matrix_bytes * share.tokens * share.learning.lora.rank


def _output(share: Share, layer: Layer) -> int:
    """Bytes of what a layer makes of the tokens, on this device."""
    return share.matrix_bytes * share.tokens * layer.outputs // share.tensor


def _of_updates(share: Share, *, compiled: bool) -> list[Term]:
    """What a block keeps for dropout and for its low-rank updates.

    Of outputs before the magnitudes the compiler keeps those from which it makes others again: of wv, w1 and w3.
    """
    lora, layers, tuning = share.learning.lora, [layer for layer, _ in _updated(share)], share.recipe.finetune
    terms = []
    if tuning is not None and tuning.dropout:
        dropped = 2 * sizes(share).stream // share.matrix_bytes
        terms.append(Term("which outputs of the halves were dropped", dropped))
    if lora is None:
        return terms
    terms.append(Term("inputs of the updates' B", len(layers) * _low(share)))
    if lora.dropout:
        inputs = sum(share.tokens * layer.inputs for layer in layers)
        terms.append(Term("inputs of A after dropout, and which were dropped", (share.matrix_bytes + 1) * inputs))
    if lora.dora:
        others = [layer for layer in layers if not compiled or layer.name not in ("wv", "w1", "w3")]
        terms.append(Term("outputs before the magnitudes", sum(_output(share, layer) for layer in others)))
    return terms


def kept_by_full(share: Share) -> list[Term]:
    """What the policy `full` keeps: the block's input (Chen et al. 2016)."""
    return [Term("stream before the block", sizes(share).stream)]


def _attention(share: Share) -> list[Term]:
    s = sizes(share)
    terms = [Term("queries, keys, values and output of attention", 2 * s.queries + 2 * s.keys + s.sums)]
    if share.context > 1:
        terms.append(Term("output of attention, both parts joined for wo", s.queries))
    return terms


def kept(share: Share) -> tuple[list[Term], list[Term]]:
    """What all blocks keep until the backward pass, and what the block in the backward pass keeps.

    `budget=x` is taken to lie between `full` and `none` in proportion: what the compiler really finds depends on which
    tensors fill its budget.
    """
    train, layers = share.recipe.train, share.recipe.model.n_layers
    none = kept_compiled(share) if train.compile else kept_in_eager(share)
    name, _, number = train.recompute.partition("-")
    if train.recompute == "none":
        return _times(none, layers), none
    if train.recompute == "llama":
        return _times(kept_by_llama(share), layers), _larger(none, kept_by_llama(share))
    if train.recompute == "full":
        return _times(kept_by_full(share), layers), none
    if name == "every":
        full = math.ceil(layers / int(number))
        kept_terms = _times(kept_by_full(share), full, f" ({full} blocks)")
        return kept_terms + _times(none, layers - full, f" ({layers - full} blocks)"), none
    part = float(train.recompute.removeprefix("budget="))
    least, most = total(kept_by_full(share)), total(none)
    return [Term(f"{part:g} of what `none` keeps", round(layers * (least + part * max(0, most - least))))], none


def in_flight(share: Share) -> int:
    """Bytes of the gradients of activations, and of other short-lived tensors, in the backward pass of a block.

    The largest moment is SwiGLU's product, where the gradients of both factors exist beside the stream's; or
    attention, whose operator for CPUs has two blocks of weights and copies of keys and values.
    """
    s, compiled = sizes(share), share.recipe.train.compile
    feed_forward = (3 if compiled else 2) * s.hidden + 2 * s.gathered
    attention = s.gathered + 2 * s.queries + 4 * s.keys
    if blocked_attention(share):
        attention += 2 * 4 * BLOCKED_QUERIES * share.tokens * share.recipe.model.n_heads // share.tensor
    # When attention begins, the tensors that the feed-forward network kept are freed.
    gone = (3 if compiled else 4) * s.hidden + 2 * s.stream + s.gathered
    return max(feed_forward, attention - gone) + _in_float8(share) + _in_updates(share)


def _in_updates(share: Share) -> int:
    """Memory of the gradient of the inputs of w2's update that were dropped, beside that of the inputs of w2 itself.

    The other updates' gradients are made when more of the feed-forward network has been freed.
    """
    lora, layers = share.learning.lora, [layer for layer, _ in _updated(share)]
    if lora is None or not lora.dropout or not any(layer.name == "w2" for layer in layers):
        return 0
    return sizes(share).hidden


def _in_float8(share: Share) -> int:
    """Memory of a product in float8 beside its operands: both rounded, and the weight transposed.

    Operator by operator, three float32 tensors exist on the way.
    """
    config, train = share.recipe.model, share.recipe.train
    if not train.float8:
        return 0
    activations, weight = share.tokens * config.ffn_dim, config.dim * config.ffn_dim
    rounded = activations + weight if train.compile else 12 * max(activations, weight) + min(activations, weight)
    return rounded + 2 * weight


def _larger(first: list[Term], second: list[Term]) -> list[Term]:
    return max(first, second, key=total)


def _times(terms: list[Term], count: int, suffix: str = "") -> list[Term]:
    return [Term(term.name + suffix, count * term.bytes) for term in terms] if count else []
