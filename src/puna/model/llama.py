"""The LLaMA decoder, whole, in one file (Touvron et al. 2023, section 2.2).

Read top to bottom: rotary positions, normalisation, attention, feed-forward, block, model. Nothing here knows about
devices, sharding, losses or checkpoints; those are applied from outside, so `forward` is only arithmetic. Parameter
names are those of Meta's checkpoints.

Axes in names:
  B batch   T tokens   S tokens seen, including cached ones   D model width   N query heads   K key and value heads
  H head width   F feed-forward width   V vocabulary
"""

import math
from collections.abc import Callable, Sequence
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from puna.config.model import ModelConfig, RopeScaling
from puna.ops.attention import Mask, causal_attention


class LayerCache(Protocol):
    """Keys and values of one layer for the positions computed before."""

    def update(self, k_BKTH: Tensor, v_BKTH: Tensor) -> tuple[Tensor, Tensor]:
        """Append; returns all keys and all values so far, (B, K, S, H) each."""
        ...


def rope_frequencies(
    head_dim: int, theta: float, rope_scaling: RopeScaling | None = None, device: torch.device | None = None
) -> Tensor:
    """Radians per position of every pair of a head, (H/2), in float32 (Su et al. 2021).

    A linear scaling divides all by the factor (Chen et al. 2023). Llama 3.1's divides those that turn less than
    low_freq_factor times within the original context, leaves those that turn more than high_freq_factor times, and
    interpolates between the two (Meta's llama-models, `apply_scaling`).
    """
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32, device=device) / head_dim
    frequencies = theta**-exponents
    if rope_scaling is None:
        return frequencies
    if rope_scaling.kind == "linear":
        return frequencies / rope_scaling.factor
    low, high = rope_scaling.low_freq_factor, rope_scaling.high_freq_factor
    turns = rope_scaling.original_context * frequencies / (2 * math.pi)
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return frequencies * (kept + (1 - kept) / rope_scaling.factor)


def rope_table(
    positions_T: Tensor, head_dim: int, theta: float, rope_scaling: RopeScaling | None = None
) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the angles of every position, (T, H/2) each, in float32; (B, T, H/2) of (B, T) positions."""
    frequencies = rope_frequencies(head_dim, theta, rope_scaling, positions_T.device)
    angles = positions_T.float()[..., None] * frequencies
    return angles.cos(), angles.sin()


def rotate(x_BTNH: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn pair (i, i + H/2) of every head by the i-th angle of its position, in float32.

    Hugging Face pairs the halves of a head like this; Meta's weights pair neighbours, which is the same model after a
    permutation of the rows of wq and wk (docs/decisions/0002).
    """
    left, right = x_BTNH.float().chunk(2, dim=-1)
    cos, sin = cos[..., None, :], sin[..., None, :]
    turned = (left * cos - right * sin, right * cos + left * sin)
    return torch.cat([half.type_as(x_BTNH) for half in turned], dim=-1)


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


class LayerNorm(nn.Module):
    """Subtract the mean, scale to a variance of one, then by a learned gain; statistics in float32 (Ba et al. 2016).

    The form without a bias is OpenLM's `gain_only_layer_norm`, the one with a bias its `default_layer_norm`.
    """

    def __init__(self, dim: int, eps: float, bias: bool) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim)) if bias else None

    def forward(self, x_BTD: Tensor) -> Tensor:
        """The normalised stream in the dtype of the input."""
        x_BTD = F.layer_norm(x_BTD.float(), x_BTD.shape[-1:], eps=self.eps).type_as(x_BTD) * self.weight
        return x_BTD if self.bias is None else x_BTD + self.bias


def _norm(config: ModelConfig, width: int) -> RMSNorm | LayerNorm:
    if config.norm == "rms":
        return RMSNorm(width, config.norm_eps)
    return LayerNorm(width, config.norm_eps, bias=config.norm == "layer-bias")


class CausalCore(nn.Module):
    """Attention between the projections; a module of its own so that context parallelism can replace it."""

    def forward(self, q_BNTH: Tensor, k_BKSH: Tensor, v_BKSH: Tensor, mask: Mask | None = None) -> Tensor:
        """Attention of each query to the keys up to its own position, (B, N, T, H); queries are the last positions."""
        return causal_attention(q_BNTH, k_BKSH, v_BKSH, mask)


class Attention(nn.Module):
    """Causal self-attention with rotary positions; fewer key than query heads is grouped-query attention.

    With rotary = "head" nothing is turned: OpenLM's released models turn each head by the angle of the head's number,
    which is the same for a query and its keys and leaves their product unchanged.

    With qk_norm, queries and keys are normalised before they are turned, each over all heads at once: OpenLM's form of
    Dehghani et al. 2023.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.turns = config.rotary == "position"
        self.wq = nn.Linear(config.dim, config.n_heads * config.head_dim, bias=False)
        self.wk = nn.Linear(config.dim, config.n_kv_heads * config.head_dim, bias=False)
        self.wv = nn.Linear(config.dim, config.n_kv_heads * config.head_dim, bias=False)
        self.wo = nn.Linear(config.n_heads * config.head_dim, config.dim, bias=False)
        self.q_norm = _norm(config, config.n_heads * config.head_dim) if config.qk_norm else nn.Identity()
        self.k_norm = _norm(config, config.n_kv_heads * config.head_dim) if config.qk_norm else nn.Identity()
        self.core = CausalCore()

    def forward(
        self, x_BTD: Tensor, cos: Tensor, sin: Tensor, cache: LayerCache | None = None, mask: Mask | None = None
    ) -> Tensor:
        """Attention of each position to itself and those before it, (B, T, D)."""
        q_BTNH = self.q_norm(self.wq(x_BTD)).unflatten(-1, (-1, self.head_dim))
        k_BTKH = self.k_norm(self.wk(x_BTD)).unflatten(-1, (-1, self.head_dim))
        if self.turns:
            q_BTNH, k_BTKH = rotate(q_BTNH, cos, sin), rotate(k_BTKH, cos, sin)
        q_BNTH, k_BKSH = q_BTNH.transpose(1, 2), k_BTKH.transpose(1, 2)
        v_BKSH = self.wv(x_BTD).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        if cache is not None:
            k_BKSH, v_BKSH = cache.update(k_BKSH, v_BKSH)
        out_BNTH = self.core(q_BNTH, k_BKSH, v_BKSH, mask)
        return self.wo(out_BNTH.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """SwiGLU (Shazeer 2020)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.w1 = nn.Linear(config.dim, config.ffn_dim, bias=False)
        self.w2 = nn.Linear(config.ffn_dim, config.dim, bias=False)
        self.w3 = nn.Linear(config.dim, config.ffn_dim, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """w2(silu(w1 x) * w3 x) for each position on its own, (B, T, D)."""
        return self.w2(F.silu(self.w1(x_BTD)) * self.w3(x_BTD))


class Block(nn.Module):
    """Attention and feed-forward, each normalised before and added to the residual stream."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.feed_forward = FeedForward(config)
        self.attention_norm = _norm(config, config.dim)
        self.ffn_norm = _norm(config, config.dim)

    def forward(
        self, x_BTD: Tensor, cos: Tensor, sin: Tensor, cache: LayerCache | None = None, mask: Mask | None = None
    ) -> Tensor:
        """The residual stream after this block."""
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), cos, sin, cache, mask)
        return x_BTD + self.feed_forward(self.ffn_norm(x_BTD))


class Llama(nn.Module):
    """Token ids in, logits out."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        # Drawn as `nn.Embedding` does it, but not on the meta device, where torch would import its compiler for it.
        weight_VD = torch.empty(config.vocab_size, config.dim)
        if weight_VD.device.type != "meta":
            nn.init.normal_(weight_VD)
        self.tok_embeddings = nn.Embedding.from_pretrained(weight_VD, freeze=False)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = _norm(config, config.dim)
        self.output = nn.Linear(config.dim, config.vocab_size, bias=False)
        self.tie()

    def hidden(
        self,
        tokens_BT: Tensor,
        caches: Sequence[LayerCache] | None = None,
        start: int = 0,
        *,
        positions_T: Tensor | None = None,
        mask: Mask | None = None,
    ) -> Tensor:
        """The normalised stream before the output layer, (B, T, D).

        Args:
            tokens_BT: Token ids.
            caches: One for each layer, holding `start` positions; None computes all from these tokens.
            start: Position of the first token.
            positions_T: The tokens' positions if they are not consecutive, (T,), or (B, T) where sequences differ; None
                counts from `start`.
            mask: Keeps attention within documents; None attends to all earlier tokens.
        """
        if positions_T is None:
            positions_T = torch.arange(start, start + tokens_BT.shape[1], device=tokens_BT.device)
        config = self.config
        cos, sin = rope_table(positions_T, config.head_dim, config.rope_theta, config.rope_scaling)
        x_BTD = self.tok_embeddings(tokens_BT)
        for index, block in enumerate(self.layers):
            x_BTD = block(x_BTD, cos, sin, caches[index] if caches else None, mask)
        return self.norm(x_BTD)

    def forward(self, tokens_BT: Tensor, caches: Sequence[LayerCache] | None = None, start: int = 0) -> Tensor:
        """Logits (B, T, V) in the dtype of the weights."""
        return self.output(self.hidden(tokens_BT, caches, start))

    def blocks(self) -> list[Block]:
        """The blocks in their order."""
        return [cast(Block, block) for block in self.layers]

    def tie(self) -> None:
        """Make the output layer the embedding's transpose again where the configuration says so."""
        if self.config.tie_embeddings:
            self.output.weight = self.tok_embeddings.weight

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Llama":
        # Leaving the meta device gives each module a parameter of its own, tied or not.
        super()._apply(fn, recurse)
        self.tie()
        return self
