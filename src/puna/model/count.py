"""Parameters and floating-point operations of a decoder, by arithmetic: no tensors and no PyTorch.

Three conventions are in use for the operations of one trained token; they differ in what attention counts:

- `param`: 6 per matrix weight (2 forward, 4 backward), attention scores left out (Kaplan et al. 2020, section 2.1);
- `causal`: also 6 L D T for attention, which needs only the scores below the diagonal;
- `full`: also 12 L D T, the whole square of scores (Chowdhery et al. 2022, appendix B).

Matrix weights are those that tokens are multiplied with: the output layer counts, also where it is the embedding's
transpose; the embedding itself is a look-up and does not, nor do the gains of norms.
"""

from dataclasses import dataclass

from puna.config.recipe import ModelConfig


@dataclass(frozen=True)
class Parameters:
    """Trainable numbers by what they belong to."""

    embedding: int
    """The table of token embeddings."""
    attention: int
    """wq, wk, wv and wo of all layers."""
    ffn: int
    """w1, w2 and w3 of all layers."""
    norms: int
    """The gains of the two norms of each layer and of the last one."""
    output: int
    """The output layer; 0 where it is tied to the embedding."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.embedding + self.attention + self.ffn + self.norms + self.output


def parameters(config: ModelConfig) -> Parameters:
    """The decoder's parameters: 6,738,415,616 in all for LLaMA 7B."""
    query, key = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
    table = config.vocab_size * config.dim
    return Parameters(
        embedding=table,
        attention=config.n_layers * config.dim * (2 * query + 2 * key),
        ffn=config.n_layers * 3 * config.dim * config.ffn_dim,
        norms=(2 * config.n_layers + 1) * config.dim,
        output=0 if config.tie_embeddings else table,
    )


def matmul_parameters(config: ModelConfig) -> int:
    """Weights that each token is multiplied with: attention, feed-forward and the output layer, tied or not."""
    count = parameters(config)
    return count.attention + count.ffn + config.vocab_size * config.dim


def flops_per_token(config: ModelConfig, tokens: int) -> dict[str, int]:
    """Floating-point operations to train on one token, forward and backward, by convention.

    Args:
        config: The decoder's shape.
        tokens: Tokens of a sequence (T).

    Returns:
        `full`, `causal` and `param`; a multiplication and an addition are two operations.
    """
    param = 6 * matmul_parameters(config)
    causal = 6 * config.n_layers * config.dim * tokens
    return {"full": param + 2 * causal, "causal": param + causal, "param": param}
