"""Causal self-attention that keeps no weights and computes no block of masked scores (LLaMA, section 2.4).

PyTorch's own kernel does both on a GPU. Its kernel for CPUs takes as long as without a mask, so in float32 on a CPU the
queries are taken here in blocks: a block's scores are one batched matrix product with the keys up to the block's end,
and the backward pass computes them again instead of having kept them.

The rule: float32 on a CPU with at least `_FEWEST` tokens runs in blocks; everything else runs in PyTorch's kernel.

Axes: B batch   N query heads   K key and value heads   G query heads per key head   T tokens   H head width
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_BLOCK = 128
"""Queries per block: a small one computes fewer masked scores, a large one makes larger products. 64 measures alike."""

_FEWEST = 2 * _BLOCK


def causal_attention(q_BNTH: Tensor, k_BKTH: Tensor, v_BKTH: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(H)) v over each position and those before it, (B, N, T, H).

    N is a multiple of K; each key head serves N / K query heads in a row (Ainslie et al. 2023).
    """
    if q_BNTH.device.type == "cpu" and q_BNTH.dtype == torch.float32 and q_BNTH.shape[2] >= _FEWEST:
        return torch.ops.puna.causal_attention(q_BNTH, k_BKTH, v_BKTH)
    grouped = q_BNTH.shape[1] != k_BKTH.shape[1]
    return F.scaled_dot_product_attention(q_BNTH, k_BKTH, v_BKTH, is_causal=True, enable_gqa=grouped)


@torch.library.custom_op("puna::causal_attention", mutates_args=())
def _forward(q_BNTH: Tensor, k_BKTH: Tensor, v_BKTH: Tensor) -> Tensor:
    batch, heads, tokens, width = q_BNTH.shape
    q, k, v = _rows(q_BNTH * width**-0.5, k_BKTH.shape[1]), _rows(k_BKTH), _rows(v_BKTH)
    out = q.new_empty(q.shape)
    for start, end in _blocks(tokens):
        weights = _weights(q, k, start, end)
        out[:, :, start:end] = (weights @ v[:, :end]).view(out[:, :, start:end].shape)
    return out.view(batch, heads, tokens, width)


@torch.library.custom_op("puna::causal_attention_backward", mutates_args=())
def _backward(
    grad_BNTH: Tensor, q_BNTH: Tensor, k_BKTH: Tensor, v_BKTH: Tensor, out_BNTH: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    kv_heads, scale = k_BKTH.shape[1], q_BNTH.shape[3] ** -0.5
    q, k, v = _rows(q_BNTH * scale, kv_heads), _rows(k_BKTH), _rows(v_BKTH)
    grad, out = _rows(grad_BNTH, kv_heads), _rows(out_BNTH, kv_heads)
    # The softmax's Jacobian takes from each weight's gradient its row's weighted mean, which is grad . out.
    means = (grad * out).sum(-1, keepdim=True)
    grad_q, grad_k, grad_v = q.new_empty(q.shape), k.new_zeros(k.shape), v.new_zeros(v.shape)
    for start, end in _blocks(q.shape[2]):
        weights = _weights(q, k, start, end)
        grad_block = grad[:, :, start:end].flatten(1, 2)
        grad_v[:, :end] += torch.bmm(weights.transpose(1, 2), grad_block)
        grad_scores = torch.bmm(grad_block, v[:, :end].transpose(1, 2))
        grad_scores.sub_(means[:, :, start:end].flatten(1, 2)).mul_(weights)
        grad_q[:, :, start:end] = torch.bmm(grad_scores, k[:, :end]).view(grad_q[:, :, start:end].shape)
        grad_k[:, :end] += torch.bmm(grad_scores.transpose(1, 2), q[:, :, start:end].flatten(1, 2))
    return grad_q.mul_(scale).view(q_BNTH.shape), grad_k.view(k_BKTH.shape), grad_v.view(v_BKTH.shape)


def _blocks(tokens: int) -> list[tuple[int, int]]:
    return [(start, min(start + _BLOCK, tokens)) for start in range(0, tokens, _BLOCK)]


def _rows(x_BNTH: Tensor, kv_heads: int | None = None) -> Tensor:
    """Heads in a row: (B K, G, T, H) where the heads are queries of `kv_heads`, otherwise (B K, T, H)."""
    batch, heads, tokens, width = x_BNTH.shape
    if kv_heads is None:
        return x_BNTH.reshape(batch * heads, tokens, width)
    return x_BNTH.reshape(batch * kv_heads, heads // kv_heads, tokens, width)


def _weights(q: Tensor, k: Tensor, start: int, end: int) -> Tensor:
    """Attention weights of the scaled queries from `start` to `end`, (B K, G block, end)."""
    queries = q[:, :, start:end].flatten(1, 2)
    scores = torch.bmm(queries, k[:, :end].transpose(1, 2))
    size = end - start
    future = torch.ones(size, size, dtype=torch.bool, device=q.device).triu_(1)
    scores.view(q.shape[0], q.shape[1], size, end)[..., start:].masked_fill_(future, float("-inf"))
    return torch.softmax(scores, dim=-1, out=scores)


@_forward.register_fake
def _(q_BNTH: Tensor, k_BKTH: Tensor, v_BKTH: Tensor) -> Tensor:
    return torch.empty_like(q_BNTH, memory_format=torch.contiguous_format)


@_backward.register_fake
def _(
    grad_BNTH: Tensor, q_BNTH: Tensor, k_BKTH: Tensor, v_BKTH: Tensor, out_BNTH: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    contiguous = torch.contiguous_format
    return (
        torch.empty_like(q_BNTH, memory_format=contiguous),
        torch.empty_like(k_BKTH, memory_format=contiguous),
        torch.empty_like(v_BKTH, memory_format=contiguous),
    )


def _save(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs, output)


def _differentiate(ctx: torch.autograd.function.FunctionCtx, grad_BNTH: Tensor) -> tuple[Tensor, ...]:
    return torch.ops.puna.causal_attention_backward(grad_BNTH, *ctx.saved_tensors)  # type: ignore[attr-defined]


_forward.register_autograd(_differentiate, setup_context=_save)
