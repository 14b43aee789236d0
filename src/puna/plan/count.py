"""Parameters and FLOPs of a decoder from its configuration alone; no torch."""

from dataclasses import dataclass

from puna.config.recipe import ModelConfig
from puna.plan.learning import BY_INPUTS, Layer, Learning, layers_of


@dataclass(frozen=True)
class Parameters:
    """Numbers of parameters by part."""

    embedding: int
    """V x D: the table of embeddings."""
    attention: int
    """wq, wk, wv and wo of all layers."""
    feed_forward: int
    """w1, w2 and w3 of all layers."""
    norms: int
    """Gains: two per layer, two more where queries and keys are normalised, and the last one; as many biases."""
    output: int
    """V x D, or 0 where the output layer is the embedding's transpose."""

    @property
    def total(self) -> int:
        """Parameters of all parts."""
        return self.embedding + self.attention + self.feed_forward + self.norms + self.output


def parameters(config: ModelConfig) -> Parameters:
    """How many parameters the decoder has (Touvron et al. 2023, table 2)."""
    q_dim, kv_dim = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
    qk_gains = q_dim + kv_dim if config.qk_norm else 0
    each = 2 if config.norm == "layer-bias" else 1
    return Parameters(
        embedding=config.vocab_size * config.dim,
        attention=config.n_layers * 2 * config.dim * (q_dim + kv_dim),
        feed_forward=config.n_layers * 3 * config.dim * config.ffn_dim,
        norms=each * (config.dim + config.n_layers * (2 * config.dim + qk_gains)),
        output=0 if config.tie_embeddings else config.vocab_size * config.dim,
    )


def matrices(config: ModelConfig) -> list[tuple[int, int]]:
    """Rows and columns of every matrix, embedding and output layer included."""
    q_dim, kv_dim = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
    attention = [(q_dim, config.dim), (kv_dim, config.dim), (kv_dim, config.dim), (config.dim, q_dim)]
    feed_forward = [(config.ffn_dim, config.dim), (config.dim, config.ffn_dim), (config.ffn_dim, config.dim)]
    ends = [(config.vocab_size, config.dim)] * (1 if config.tie_embeddings else 2)
    return [*ends, *(attention + feed_forward) * config.n_layers]


def matmul_parameters(config: ModelConfig) -> int:
    """Parameters that take part in a matrix product for every token.

    The output layer does, even if it shares its weights; the look-up in the embedding does not.
    """
    counts = parameters(config)
    return counts.attention + counts.feed_forward + config.vocab_size * config.dim


def flops_per_token(config: ModelConfig, tokens: int, learning: Learning | None = None) -> dict[str, float]:
    """FLOPs of a forward and a backward pass per token, in sequences of `tokens`, by convention.

    Each matrix parameter costs 2 FLOPs forward and 4 backward: 2 for its gradient and 2 for that of its input. One that
    does not learn has no gradient, and below the first weight that learns there is no backward pass. Low-rank updates
    count as the two matrices that they are.

    Attention's two products over `tokens` positions cost 12 L N H T more where all scores are counted (`full`: PaLM,
    Chowdhery et al. 2022, appendix B) and half of it where only those below the diagonal are, which is what a causal
    kernel computes (`causal`). `param` leaves attention out.

    Args:
        config: The model.
        tokens: Tokens of a sequence.
        learning: What learns; None is all of it.
    """
    if learning is None or learning.everything:
        matmul = 6.0 * matmul_parameters(config)
        attention = 12.0 * config.n_layers * config.n_heads * config.head_dim * tokens
    else:
        *blocks, output = backward_work(config, learning)
        matmul = sum(work.forward + work.backward for work in (*blocks, output))
        scores = 2.0 * config.n_heads * config.head_dim * tokens
        attention = scores * sum(2 + work.products_of_scores for work in blocks)
    return {"full": matmul + attention, "causal": matmul + attention / 2, "param": matmul}


@dataclass(frozen=True)
class PartWork:
    """FLOPs of matrix products per token, of a block or of the output layer, and how far the backward pass goes."""

    forward: float
    backward: float
    products_of_scores: int = 0
    """Products of attention's backward pass: one for each of queries, keys and values that needs its gradient, and one
    for the scores where queries or keys do."""
    reached: bool = True
    """Whether the backward pass goes through what a block makes; through what the output layer reads."""
    pairs: bool = True
    """Whether the gradients of keys or values are made."""
    streams: int = 4
    """How many of the four gradients of the stream are made that go before and after both halves of a block."""


def backward_work(config: ModelConfig, learning: Learning, tensor: int = 1) -> list[PartWork]:
    """The work of each block, and last that of the output layer; a gradient is made only where something needs it.

    Args:
        config: The model.
        learning: What learns.
        tensor: Devices that share each product. Of an update of a layer whose outputs they share, each computes the
            smaller half whole.
    """
    found, needed = [], learning.embedding
    for number in range(config.n_layers):
        work = _block_work(config, learning, number, tensor, needed)
        needed = work.reached
        found.append(work)
    needed |= any(f"norm.{part}" in learning.whole for part in ("weight", "bias"))
    output = 2.0 * config.vocab_size * config.dim / tensor
    return [*found, PartWork(output, output * (needed + learning.output), reached=needed)]


def _block_work(config: ModelConfig, learning: Learning, number: int, tensor: int, needed: bool) -> PartWork:
    """The work of a block; `needed` says whether the gradient of the stream before it is."""
    forward = backward = 0.0

    def gains(name: str) -> bool:
        return any(f"layers.{number}.{name}.{part}" in learning.whole for part in ("weight", "bias"))

    def linear(layer: Layer, read: bool) -> bool:
        """Count a layer whose input needs a gradient or not; returns whether its output does."""
        nonlocal forward, backward
        name, size = layer.in_block(number), 2.0 * layer.size / tensor
        learns, updated = f"{name}.weight" in learning.whole, name in learning.updated
        forward, backward = forward + size, backward + size * (learns + read)
        if updated and learning.lora is not None:
            a, b = (2.0 * learning.lora.rank * width for width in (layer.inputs, layer.outputs))
            a, b = a / (tensor if layer.name in BY_INPUTS else 1), b / tensor
            forward, backward = forward + a + b, backward + a * (1 + read) + 2 * b
        return read or learns or updated

    def learns(layer: Layer) -> bool:
        return f"{layer.in_block(number)}.weight" in learning.whole

    wq, wk, wv, wo, w1, w2, w3 = layers_of(config)
    normed = needed or gains("attention_norm")
    queries = linear(wq, normed) or gains("attention.q_norm")
    keys, values = linear(wk, normed) or gains("attention.k_norm"), linear(wv, normed)
    scores = (queries or keys) + queries + keys + values
    joined = queries or keys or values
    stream = linear(wo, joined) or needed
    gated_normed = stream or gains("ffn_norm")
    inner, gate = linear(w1, gated_normed), linear(w3, gated_normed)
    stream |= linear(w2, inner or gate)
    streams = normed + (joined or learns(wo)) + gated_normed + (inner or gate or learns(w2))
    return PartWork(forward, backward, scores, stream, keys or values, streams)
