"""The LLaMA decoder, whole, in one file (Touvron et al. 2023, section 2.2).

Read top to bottom: norm, rotary positions, the two halves of a block, the block, the model. Nothing here knows about
devices, losses, checkpoints or training; those are applied from outside, so `forward` is only arithmetic.

Parameters have Meta's names. The rows of `wq` and `wk` have Hugging Face's order: rotary position i turns the pair
(i, i + H/2) of a head, where Meta's released checkpoints turn (2i, 2i + 1). The two are one model up to a permutation
of those rows, which belongs to whoever reads or writes Meta's order; a Hugging Face directory needs none.

Shapes in names, one capital per axis:
  B batch   T tokens   S tokens that can be attended to   D model width   V vocabulary
  N query heads   K key and value heads   H head width   R rotary pairs, H/2
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from puna.config.recipe import ModelConfig
from puna.model.cache import KVCache, LayerCache


class RMSNorm(nn.Module):
    """Root-mean-square normalisation with a gain (Zhang and Sennrich 2019); statistics in float32 for any input."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x_BTD: Tensor) -> Tensor:
        """The normalised input; it is rounded to the input's dtype before the gain, as in `transformers`."""
        return self.weight * F.rms_norm(x_BTD.float(), (x_BTD.shape[-1],), eps=self.eps).type_as(x_BTD)


def rope_table(positions_T: Tensor, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines (T, R) of the angles position * theta^(-2i/H), in float32 (Su et al. 2021, section 3.2.2)."""
    pairs_R = torch.arange(0, head_dim, 2, dtype=torch.float32, device=positions_T.device)
    angles_TR = torch.outer(positions_T.float(), 1.0 / theta ** (pairs_R / head_dim))
    return angles_TR.cos(), angles_TR.sin()


def rotate(x_BTNH: Tensor, cos_TR: Tensor, sin_TR: Tensor) -> Tensor:
    """The input with the pair (i, i + H/2) of every head turned by its position's i-th angle; computed in float32."""
    cos_T1R, sin_T1R = cos_TR[:, None], sin_TR[:, None]
    a_BTNR, b_BTNR = x_BTNH.float().chunk(2, dim=-1)
    turned = (a_BTNR * cos_T1R - b_BTNR * sin_T1R, b_BTNR * cos_T1R + a_BTNR * sin_T1R)
    return torch.cat(turned, dim=-1).type_as(x_BTNH)


class Attention(nn.Module):
    """Causal self-attention with rotary positions and grouped queries."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.grouped = config.n_kv_heads != config.n_heads
        self.wq = nn.Linear(config.dim, config.n_heads * config.head_dim, bias=False)
        self.wk = nn.Linear(config.dim, config.n_kv_heads * config.head_dim, bias=False)
        self.wv = nn.Linear(config.dim, config.n_kv_heads * config.head_dim, bias=False)
        self.wo = nn.Linear(config.n_heads * config.head_dim, config.dim, bias=False)

    def forward(
        self, x_BTD: Tensor, cos_TR: Tensor, sin_TR: Tensor, mask_TS: Tensor | None, cache: LayerCache | None
    ) -> Tensor:
        """What each position gathers from itself and those before it, (B, T, D)."""
        q_BNTH = rotate(self.wq(x_BTD).unflatten(-1, (-1, self.head_dim)), cos_TR, sin_TR).transpose(1, 2)
        k_BKSH = rotate(self.wk(x_BTD).unflatten(-1, (-1, self.head_dim)), cos_TR, sin_TR).transpose(1, 2)
        v_BKSH = self.wv(x_BTD).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        if cache is not None:
            k_BKSH, v_BKSH = cache.append(k_BKSH, v_BKSH)
        # Without a mask, the queries are either all positions, or one that comes after all the keys.
        causal = mask_TS is None and x_BTD.shape[1] > 1
        out_BNTH = F.scaled_dot_product_attention(
            q_BNTH, k_BKSH, v_BKSH, attn_mask=mask_TS, is_causal=causal, enable_gqa=self.grouped
        )
        return self.wo(out_BNTH.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """SwiGLU (Shazeer 2020)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.w1 = nn.Linear(config.dim, config.ffn_dim, bias=False)
        self.w2 = nn.Linear(config.ffn_dim, config.dim, bias=False)
        self.w3 = nn.Linear(config.dim, config.ffn_dim, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """w2(silu(w1 x) * w3 x), (B, T, D)."""
        return self.w2(F.silu(self.w1(x_BTD)) * self.w3(x_BTD))


class Block(nn.Module):
    """Attention and feed-forward, each on a normalised copy of the residual stream to which it is added."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.feed_forward = FeedForward(config)
        self.attention_norm = RMSNorm(config.dim, config.norm_eps)
        self.ffn_norm = RMSNorm(config.dim, config.norm_eps)

    def forward(
        self,
        x_BTD: Tensor,
        cos_TR: Tensor,
        sin_TR: Tensor,
        mask_TS: Tensor | None = None,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """The residual stream after this block, (B, T, D)."""
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), cos_TR, sin_TR, mask_TS, cache)
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

    def hidden(self, tokens_BT: Tensor, cache: KVCache | None = None) -> Tensor:
        """What the output layer reads: the residual stream after the last norm, (B, T, D).

        Args:
            tokens_BT: Token ids. With a cache, those that follow the tokens it holds; it takes them in.
            cache: Keys and values of earlier tokens; None where the tokens are all there are.
        """
        start = cache.length if cache is not None else 0
        end = start + tokens_BT.shape[1]
        positions_T = torch.arange(start, end, device=tokens_BT.device)
        cos_TR, sin_TR = rope_table(positions_T, self.config.head_dim, self.config.rope_theta)
        mask_TS = None
        if start and tokens_BT.shape[1] > 1:
            mask_TS = positions_T[:, None] >= torch.arange(end, device=tokens_BT.device)
        x_BTD = self.tok_embeddings(tokens_BT)
        for index, block in enumerate(self.layers):
            x_BTD = block(x_BTD, cos_TR, sin_TR, mask_TS, cache.layers[index] if cache is not None else None)
        return self.norm(x_BTD)

    def forward(self, tokens_BT: Tensor, cache: KVCache | None = None) -> Tensor:
        """Logits (B, T, V) of the token that follows each position, in the dtype of the matrix products."""
        return self.output(self.hidden(tokens_BT, cache))

    def _tie(self) -> None:
        if self.config.tie_embeddings:
            self.output.weight = self.tok_embeddings.weight

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Llama":
        """Tie again: moving from the meta device replaces each module's parameter by one of its own."""
        super()._apply(fn, recurse)
        self._tie()
        return self
