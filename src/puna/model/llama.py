"""The LLaMA decoder, whole, in one file (Touvron et al. 2023, section 2.2).

Read top to bottom: rotary positions, normalisation, attention, feed-forward, block, model. Nothing here knows about
devices, sharding, losses or checkpoints; those are applied from outside, so `forward` is only arithmetic. Parameter
names are those of Meta's checkpoints.

Axes in names:
  B batch   T tokens   S tokens seen, cached ones included   D model width   N query heads   K key and value heads
  H head width   F feed-forward width   V vocabulary
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from puna.config.recipe import ModelConfig
from puna.ops.attention import causal_attention


class LayerCache(Protocol):
    """Keys and values of one layer that were computed before."""

    def update(self, k_BKTH: Tensor, v_BKTH: Tensor) -> tuple[Tensor, Tensor]:
        """Append; returns all keys and all values so far, (B, K, S, H) each."""
        ...


def rope_table(positions_T: Tensor, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the angles of every position, (T, H/2) each, in float32 (Su et al. 2021)."""
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32, device=positions_T.device) / head_dim
    angles = torch.outer(positions_T.float(), theta**-exponents)
    return angles.cos(), angles.sin()


def rotate(x_BTNH: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn pair (i, i + H/2) of every head by the i-th angle of its position, in float32.

    Hugging Face pairs the halves of a head like this; Meta's weights pair neighbours, which is the same model after a
    permutation of the rows of wq and wk (docs/decisions/0002).
    """
    left, right = x_BTNH.float().chunk(2, dim=-1)
    cos, sin = cos[:, None, :], sin[:, None, :]
    return torch.cat((left * cos - right * sin, right * cos + left * sin), dim=-1).type_as(x_BTNH)


class RMSNorm(nn.Module):
    """Scale to a root mean square of one, then by a learned gain; statistics in float32 (Zhang and Sennrich 2019)."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x_BTD: Tensor) -> Tensor:
        """The normalised stream in the dtype of the input."""
        x32_BTD = x_BTD.float()
        inverse = torch.rsqrt(x32_BTD.square().mean(-1, keepdim=True) + self.eps)
        return (x32_BTD * inverse).type_as(x_BTD) * self.weight


class Attention(nn.Module):
    """Causal self-attention with rotary positions; fewer key than query heads is grouped-query attention."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.grouped = config.n_kv_heads < config.n_heads
        self.wq = nn.Linear(config.dim, config.n_heads * config.head_dim, bias=False)
        self.wk = nn.Linear(config.dim, config.n_kv_heads * config.head_dim, bias=False)
        self.wv = nn.Linear(config.dim, config.n_kv_heads * config.head_dim, bias=False)
        self.wo = nn.Linear(config.n_heads * config.head_dim, config.dim, bias=False)

    def forward(self, x_BTD: Tensor, cos: Tensor, sin: Tensor, cache: LayerCache | None = None) -> Tensor:
        """What each position gathers from itself and those before it, (B, T, D)."""
        q_BNTH = rotate(self.wq(x_BTD).unflatten(-1, (-1, self.head_dim)), cos, sin).transpose(1, 2)
        k_BKSH = rotate(self.wk(x_BTD).unflatten(-1, (-1, self.head_dim)), cos, sin).transpose(1, 2)
        v_BKSH = self.wv(x_BTD).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        if cache is not None:
            k_BKSH, v_BKSH = cache.update(k_BKSH, v_BKSH)
        n_queries, n_keys = q_BNTH.shape[2], k_BKSH.shape[2]
        if n_queries == n_keys:
            out_BNTH = causal_attention(q_BNTH, k_BKSH, v_BKSH)
        else:
            # The queries follow what the cache held; a single one comes after all the keys and needs no mask.
            mask_TS = causal_mask(n_queries, n_keys, x_BTD.device) if n_queries > 1 else None
            out_BNTH = F.scaled_dot_product_attention(
                q_BNTH, k_BKSH, v_BKSH, attn_mask=mask_TS, enable_gqa=self.grouped
            )
        return self.wo(out_BNTH.transpose(1, 2).flatten(2))


def causal_mask(n_queries: int, n_keys: int, device: torch.device) -> Tensor:
    """True where a query may look at a key, (T, S): the queries are the last of the keys' positions."""
    return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device).tril(n_keys - n_queries)


class FeedForward(nn.Module):
    """SwiGLU (Shazeer 2020)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.w1 = nn.Linear(config.dim, config.ffn_dim, bias=False)
        self.w2 = nn.Linear(config.ffn_dim, config.dim, bias=False)
        self.w3 = nn.Linear(config.dim, config.ffn_dim, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """A gated step of each position on its own, (B, T, D)."""
        return self.w2(F.silu(self.w1(x_BTD)) * self.w3(x_BTD))


class Block(nn.Module):
    """Attention and feed-forward, each normalised before and added to the residual stream."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.feed_forward = FeedForward(config)
        self.attention_norm = RMSNorm(config.dim, config.norm_eps)
        self.ffn_norm = RMSNorm(config.dim, config.norm_eps)

    def forward(self, x_BTD: Tensor, cos: Tensor, sin: Tensor, cache: LayerCache | None = None) -> Tensor:
        """The residual stream after this block."""
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), cos, sin, cache)
        return x_BTD + self.feed_forward(self.ffn_norm(x_BTD))


class Llama(nn.Module):
    """Token ids in, logits out."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.tok_embeddings = nn.Embedding(config.vocab_size, config.dim)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = RMSNorm(config.dim, config.norm_eps)
        self.output = nn.Linear(config.dim, config.vocab_size, bias=False)
        self._tie()

    def hidden(self, tokens_BT: Tensor, caches: Sequence[LayerCache] | None = None, start: int = 0) -> Tensor:
        """The normalised stream before the output layer, (B, T, D).

        Args:
            tokens_BT: Token ids.
            caches: One for each layer, holding `start` positions; None computes all from these tokens.
            start: Position of the first token.
        """
        positions_T = torch.arange(start, start + tokens_BT.shape[1], device=tokens_BT.device)
        cos, sin = rope_table(positions_T, self.config.head_dim, self.config.rope_theta)
        x_BTD = self.tok_embeddings(tokens_BT)
        for index, block in enumerate(self.layers):
            x_BTD = block(x_BTD, cos, sin, caches[index] if caches else None)
        return self.norm(x_BTD)

    def forward(self, tokens_BT: Tensor, caches: Sequence[LayerCache] | None = None, start: int = 0) -> Tensor:
        """Logits (B, T, V) in the dtype of the weights."""
        return self.output(self.hidden(tokens_BT, caches, start))

    def _tie(self) -> None:
        if self.config.tie_embeddings:
            self.output.weight = self.tok_embeddings.weight

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Llama":
        # Leaving the meta device gives each module a parameter of its own, tied or not.
        super()._apply(fn, recurse)
        self._tie()
        return self
