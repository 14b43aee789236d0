"""Parameters and FLOPs of a decoder from its configuration alone; no torch."""

from dataclasses import dataclass

from puna.config.recipe import ModelConfig


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


def flops_per_token(config: ModelConfig, tokens: int) -> dict[str, float]:
    """FLOPs of a forward and a backward pass per token, in sequences of `tokens`, by convention.

    Each matrix parameter costs 2 FLOPs forward and 4 backward. Attention's two products over `tokens` positions cost
    12 L N H T more where all scores are counted (`full`: PaLM, Chowdhery et al. 2022, appendix B) and half of it where
    only those below the diagonal are, which is what a causal kernel computes (`causal`). `param` leaves attention out.
    """
    matmul = 6.0 * matmul_parameters(config)
    attention = 12.0 * config.n_layers * config.n_heads * config.head_dim * tokens
    return {"full": matmul + attention, "causal": matmul + attention / 2, "param": matmul}
