"""How long a GPU computes: matrix products, attention, and operators that only read and write memory; no torch.

The model has three rates: FLOP/s of products (another one in float8), FLOP/s of attention's kernel, bytes per second of
the memory; and one share of them all that a run reaches. The start of a kernel and shapes that fill a GPU badly are
left out, so small models and small passes come out too fast. Read beside `puna.model.llama`, `puna.ops.cross_entropy`,
`puna.parallel.working`, `puna.parallel.float8` and `puna.train`.
"""

import math
from dataclasses import dataclass

from puna.plan.layout import Share
from puna.plan.messages import muon_workers
from puna.plan.updates import gains_spared, halves_dropped, unpacked, update_bytes

ATTENTION_SHARE = 0.5
"""Share of the GPU's rate that causal attention reaches, forward and backward together: FlashAttention-2 says 50 to 73
% on an A100 (Dao 2023, abstract), cuDNN 484 of 989 TFLOP/s forward over 2,048 positions on an H100 (FlashAttention-3,
Shah et al. 2024, figure 5)."""
ATTENTION_BACKWARD = 2.5
"""FLOPs of attention's backward pass over those of its forward pass, as these papers count them: five products, one of
them recomputed, against two."""
MEMORY_SHARE = 0.9
"""Share of a datasheet's bandwidth that copies reach: 4.3 of 4.8 TB/s measured on an H200."""

SUSTAINED = 0.79
"""Share of these rates that a run reaches, where shapes are not the best, clocks fall under load and kernels have to
start: llm-foundry's runs of 1B to 13B on eight A100-80GB, over 2,048 positions and without recomputation, reach 0.77 to
0.81 of what the rates alone give (its scripts/train/benchmarking). The one figure that was fitted to runs."""


@dataclass(frozen=True)
class Rates:
    """The rates of a device."""

    products: float
    """FLOP/s of the best-shaped matrix product."""
    attention: float
    memory: float
    """Bytes/s read and written."""
    float8: float = 0.0
    """FLOP/s of the best-shaped product of float8 rows with their scales; 0 where the device has no such units."""


@dataclass(frozen=True)
class Work:
    """Work for a device, in FLOPs and bytes."""

    products: float = 0.0
    """FLOPs of matrix products."""
    attention: float = 0.0
    """FLOPs of attention, below the diagonal."""
    memory: float = 0.0
    """Bytes read and written outside of products and attention."""
    float8: float = 0.0
    """FLOPs of products in float8, which `products` does not count."""

    def __add__(self, other: "Work") -> "Work":
        return Work(
            self.products + other.products, self.attention + other.attention,
            self.memory + other.memory, self.float8 + other.float8,
        )  # fmt: skip

    def __mul__(self, times: float) -> "Work":
        return Work(times * self.products, times * self.attention, times * self.memory, times * self.float8)

    def seconds(self, rates: Rates) -> float:
        """Seconds of all kernels, one after the other in one stream."""
        alone = self.products / rates.products + self.attention / rates.attention + self.memory / rates.memory
        if self.float8:
            alone += self.float8 / rates.float8
        return alone / SUSTAINED


FORWARD = 2.0
"""FLOPs of a product per token and element of its matrix."""

_EAGER_NORMS = {
    2: {"rms": (36, 94), "layer": (24, 38), "layer-bias": (28, 40)},
    4: {"rms": (28, 96), "layer": (16, 40), "layer-bias": (24, 44)},
}
"""By bytes of a number and kind of norm, for a block that isn't compiled: bytes that PyTorch's operators read and write
per element that is normalised, forward and backward. Counted one by one, and again by the tests."""
_EAGER_ROTARY = {2: (44, 52), 4: (36, 40)}
"""The same, per element of queries and keys that is turned."""
_EAGER_LOSS = {2: 80, 4: 68}
"""The same, per logit, of `puna.ops.cross_entropy.softmax_gradient`."""
_SHARED_LOSS = {2: 44, 4: 32}
"""The same where other devices have the rest of the vocabulary, for which the loss runs in single steps."""
_LOG_PROBABILITIES = {2: 30, 4: 24}
"""The same where there is no gradient to make: of `puna.ops.cross_entropy.token_losses`."""
_EAGER_FLOAT8, _FLOAT8 = 39, 5
"""Per number of an operand of a product: bytes read and written to round bfloat16 to float8, operator by operator, and
compiled, which reads twice and writes once."""
_EAGER_STOCHASTIC, _STOCHASTIC = 740, 14
"""The same, per parameter, of a step that rounds at random; compiled it reads four tensors and writes three."""


def block_forward(share: Share) -> Work:
    """One block of a pass, forward; where blocks differ in what learns, on average over all of them."""
    memory = _pointwise(share)[0] + float8_bytes(share)[0] + unpacked(share)
    memory += update_bytes(share).forward + halves_dropped(share)[0]
    return _products(share, FORWARD, 1.0) + _attention(share, 1.0) + Work(update_bytes(share).products, memory=memory)


def block_backward(share: Share) -> Work:
    """The same, backward, without what is computed again."""
    reached, blocks = _reached(share), share.work[:-1]
    memory = _pointwise(share)[1] - gains_spared(share) + unpacked(share) + halves_dropped(share)[1]
    memory = memory * reached + float8_bytes(share)[1] + update_bytes(share).backward
    attended = sum(block.products_of_scores > 0 for block in blocks) / len(blocks)
    # The weight's gradient is never computed in float8.
    return _products(share, 2 * FORWARD, 0.5) + _attention(share, ATTENTION_BACKWARD * attended) + Work(memory=memory)


def _reached(share: Share) -> float:
    """Share of the blocks that the backward pass goes through."""
    return share.reached / share.recipe.model.n_layers


def block_again(share: Share) -> Work:
    """The work that the policy repeats for a block, on average over all blocks.

    A block that is computed again ends before its last product, which nothing in it reads.
    """
    config, train = share.recipe.model, share.recipe.train
    if train.recompute == "llama":
        return Work(memory=_cheap(share))
    flops = 2.0 * share.tokens * config.dim * config.ffn_dim / share.tensor
    last = Work(float8=flops) if train.float8 else Work(products=flops)
    return (block_forward(share) + last * -1.0) * recomputed_blocks(share)


def recomputed_blocks(share: Share) -> float:
    """Share of the blocks that are computed again whole, of which there are none below the first that learns."""
    return _reached(share) * _by_policy(share)


def _by_policy(share: Share) -> float:
    policy, layers = share.recipe.train.recompute, share.recipe.model.n_layers
    if policy.startswith("every-"):
        return math.ceil(layers / int(policy.removeprefix("every-"))) / layers
    if policy.startswith("budget="):
        return 1 - float(policy.removeprefix("budget="))
    return 1.0 if policy == "full" else 0.0


def ends(share: Share) -> Work:
    """The output layer, the loss, the last norm and the embedding, forward and backward."""
    config, tokens, c = share.recipe.model, share.tokens, share.matrix_bytes
    output, layer = share.vocabulary * config.dim, share.work[-1]
    norm = (2 + 5) * c if share.compiled_norm else sum(_EAGER_NORMS[c][config.norm])
    # The look-up reads and writes; its gradient is rows that are sorted and added into a table of zeros.
    embedding = (5 * c * tokens * config.dim + c * output) if share.learning.embedding else 2 * c * tokens * config.dim
    memory = loss_bytes(share) + norm * tokens * config.dim / share.tensor + embedding
    products = tokens * (layer.forward + layer.backward)
    if share.recipe.finetune is not None and share.recipe.finetune.preference is not None:
        # The log-probabilities of answers come first, in a pass of their own.
        products += tokens * layer.forward
        memory += _LOG_PROBABILITIES[c] * share.vocabulary * tokens
    return Work(products=products, memory=memory)


def loss_bytes(share: Share) -> float:
    """Bytes read and written by `puna.ops.cross_entropy` beside its products."""
    tokens, dim, c = share.tokens, share.recipe.model.dim, share.matrix_bytes
    output = share.vocabulary * dim
    if share.fused_loss:
        # Compiled, one kernel reads the logits twice and writes their gradient.
        per_logit, per_number = 3 * c if share.recipe.train.compile else _EAGER_LOSS[c], 2 * c
    else:
        # Rows that don't count are masked in what the output layer reads, and in its gradient.
        per_logit, per_number = _SHARED_LOSS[c], 6 * c
    if share.learning.output:
        # Each chunk's product is added to the weight's gradient, which was zeros and is scaled at the end. In bfloat16
        # a float32 weight is cast for the products, or the gradient to the dtype of a weight that is bfloat16 already.
        per_weight = 8 * share.loss_chunks + 4 + 8 + (6 if c == 2 else 0)
    else:
        per_weight = 6 if share.copied else 0
        per_number -= 0 if share.fused_loss else 2 * c
    return per_logit * share.vocabulary * tokens + per_number * tokens * dim + per_weight * output


def copies(share: Share) -> Work:
    """Bytes of a pass, on average: weights cast and copied for it, gradients copied and added to earlier passes'."""
    c, learned, output = share.matrix_bytes, share.learned_held, share.vocabulary * share.recipe.model.dim
    output *= share.learning.output
    later = (share.passes - 1) / share.passes
    if share.copied:
        # A step's first gradients are cast to float32, the others are added. The output layer's come in float32, and
        # are the first where it is the embedding too.
        sums = (6 + 4 * later) * (learned - output) + 12 * later * output
        return Work(memory=sums + (10 * output if share.recipe.model.tie_embeddings else 0))
    if not share.grouped:
        return Work(memory=3 * share.weight_bytes * learned * later)
    whole = share.block_gathers * share.block + share.ends
    cast = (share.weight_bytes + c) if share.weight_bytes != c else 0
    # Devices that hold a part cast it and copy it into the message, all copy out of it; the same for gradients.
    # Matrices that do not learn are in the dtype of the message.
    memory = (cast * (whole - share.block_gathers * share.frozen_matrices) + 2 * c * whole) / share.weight_devices
    memory += 2 * c * whole
    memory += (c + 4) * (share.learned_blocks + sum(share.learned_end_groups))
    return Work(memory=memory + (4 + 4 + 3 * share.weight_bytes) * learned)


def optimizer_step(share: Share) -> Work:
    """Bytes of a step: the gradient's norm, and the update, which also divides the gradient."""
    learned = share.learned_held
    if share.recipe.train.precision == "bf16-stochastic":
        return Work(memory=(2 + (_STOCHASTIC if share.compiled_update else _EAGER_STOCHASTIC)) * learned)
    # The norm reads the gradient; fused AdamW reads four tensors and writes them, the clipped gradient among them.
    memory = (4 + 16 + 16) * learned
    if share.copied:
        memory += 6 * share.copied_elements
    products = 0.0
    if share.recipe.optim.name == "adafactor":
        # Divided, squared, added up twice, scaled twice, squared and added up, as the weight is; then scaled and
        # subtracted: 84 bytes instead of 32, without the weight decay.
        memory += (84 - 32) * learned
    if share.recipe.optim.name == "muon":
        # Divided, averaged twice and cast; the result is scaled and added to the weight: 56 bytes instead of 32.
        memory += (56 - 32) * share.matrices_held
        shapes = [shape for name, shape in share.learning.shapes.items() if "layers." in name and len(shape) == 2]
        sides = [(min(shape), max(shape)) for shape in shapes]
        # Five iterations of three products: of a matrix with itself, of that with itself, and with the matrix.
        products = 5.0 * sum(4 * low * low * high + 2 * low**3 for low, high in sides)
    return Work(products=products / muon_workers(share), memory=memory)


def _products(share: Share, flops: float, part: float) -> Work:
    """The FLOPs of a block's products, a part of them in float8 where the recipe says so.

    Args:
        share: One device's part.
        flops: Per token and element of the block's matrices, 2 forward or 4 backward, where all of them learn.
        part: Of these, what can be in float8.
    """
    found = flops * share.tokens * share.block_matrices
    if not share.learning.everything:
        blocks = share.work[:-1]
        total = sum(block.forward if flops == FORWARD else block.backward for block in blocks)  # fmt: skip
        found = share.tokens * total / len(blocks)
    narrow = part * found if share.recipe.train.float8 else 0.0
    return Work(products=found - narrow, float8=narrow)


def _attention(share: Share, passes: float) -> Work:
    config = share.recipe.model
    heads = config.n_heads * config.head_dim / share.tensor
    return Work(attention=passes * 2.0 * share.tokens * config.context * heads)


def _widths(share: Share) -> tuple[float, float, float]:
    """Elements per token of the stream, of queries and keys together, and of F, on this device."""
    config = share.recipe.model
    heads = (config.n_heads + config.n_kv_heads) * config.head_dim
    return config.dim / share.tensor, heads / share.tensor, config.ffn_dim / share.tensor


def _pointwise(share: Share) -> tuple[float, float]:
    """Bytes of a block's norms, rotary turns, SwiGLU and residuals, forward and backward."""
    (stream, turned, hidden), config, c = _widths(share), share.recipe.model, share.matrix_bytes
    normed = 2 * stream + (turned if config.qk_norm else 0)
    if share.recipe.train.compile:
        # Fused: norm reads and writes; the sum before the second norm is part of it; the other sum stands alone, at the
        # edge of what is compiled. Backward the norms read the stream, its gradient twice and what they scale, once
        # more for the gain's gradient; they include the sums of the gradients of the inputs of wq, wk, wv and w1, w3.
        forward = c * (9 * stream + 2 * turned + 3 * hidden)
        backward = c * (15 * stream + 2 * turned + 5 * hidden)
        if config.qk_norm:
            forward, backward = forward + c * 2 * turned, backward + c * 5 * turned
    else:
        norm, rotary, gate = _EAGER_NORMS[c][config.norm], _EAGER_ROTARY[c], (5 * c, 9 * c)
        # Two sums forward, five backward, each of two tensors.
        forward = norm[0] * normed + rotary[0] * turned + gate[0] * hidden + 2 * 3 * c * stream
        backward = norm[1] * normed + rotary[1] * turned + gate[1] * hidden + 5 * 3 * c * stream
    if share.tensor > 1:
        # Tensors gathered or scattered along the sequence are copied into the order of the message, or out of it;
        # gradients of gathered ones are summed before they are scattered.
        forward += c * 4 * 2 * config.dim
        backward += c * (4 * 2 + 5) * config.dim
    return forward * share.tokens, backward * share.tokens


def float8_bytes(share: Share) -> tuple[float, float]:
    """Bytes read and written by a block to round the inputs of its products to float8, forward and backward."""
    config, train = share.recipe.model, share.recipe.train
    if not train.float8:
        return 0.0, 0.0
    queries, keys = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
    inputs, gradients = queries + config.ffn_dim, 2 * config.dim + queries + 2 * keys + 2 * config.ffn_dim
    # wq, wk and wv have one input, w1 and w3 another; the compiler rounds each only once.
    inputs += (2 if train.compile else 5) * config.dim
    each = _FLOAT8 if train.compile else _EAGER_FLOAT8
    # Rows of the weight forward; backward its columns, which are made contiguous first.
    columns = each if train.compile else each + 4
    return (
        each * (share.tokens * inputs + share.block_matrices),
        each * share.tokens * gradients + columns * share.block_matrices,
    )


def _cheap(share: Share) -> float:
    """Bytes of the operators that the policy `llama` computes again: norms, rotary turns and SwiGLU."""
    (stream, turned, hidden), c = _widths(share), share.matrix_bytes
    if share.recipe.train.compile:
        return c * share.tokens * (4 * stream + 2 * turned + 3 * hidden)
    norm = _EAGER_NORMS[c][share.recipe.model.norm][0]
    return share.tokens * (norm * 2 * stream + _EAGER_ROTARY[c][0] * turned + 5 * c * hidden)
