"""Causal attention in float32 on a CPU, by blocks of queries.

A block's scores are one batched matrix product with the keys from the first that any of its queries may see up to the
block's end, and the backward pass computes them again instead of having kept them.

The output's memory is in the order (B, T, N, H), in which the next layer reads it.

Axes: B batch   N query heads   K key and value heads   T queries, the last T of the keys' positions   S keys
H head width   C queries of a block   E keys of a block   R rows of a block: its queries of all heads that share keys
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from puna.ops.blocks import seen_blocks

BLOCK = 128
"""Queries per block: a small one computes fewer masked scores, a large one makes larger products. 64 measures alike."""


class _Block(NamedTuple):
    queries: slice
    keys: slice
    masked_BCE: Tensor | None
    """Keys of other documents and later keys; None where there are no documents."""
    future_CC: Tensor
    """Later keys among the block's own positions, which are its last keys."""


@torch.library.custom_op("puna::causal_attention", mutates_args=())
def _forward(
    q_BNTH: Tensor, k_BKSH: Tensor, v_BKSH: Tensor, queries_BT: Tensor | None, keys_BS: Tensor | None
) -> Tensor:
    batch, heads, tokens, width = q_BNTH.shape
    k, v = k_BKSH.flatten(0, 1), v_BKSH.flatten(0, 1)
    out_BTNH = q_BNTH.new_empty(batch, tokens, heads, width)
    for block in _blocks(tokens, k.shape[1], queries_BT, keys_BS):
        out = torch.bmm(_weights(q_BNTH, k, block), v[:, block.keys])
        out_BTNH[:, block.queries] = out.view(batch, heads, -1, width).transpose(1, 2)
    return out_BTNH.transpose(1, 2)


@torch.library.custom_op("puna::causal_attention_backward", mutates_args=())
def _backward(
    grad_BNTH: Tensor, q_BNTH: Tensor, k_BKSH: Tensor, v_BKSH: Tensor, out_BNTH: Tensor,
    queries_BT: Tensor | None, keys_BS: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    batch, heads, tokens, width = q_BNTH.shape
    k, v = k_BKSH.flatten(0, 1), v_BKSH.flatten(0, 1)
    grad_q_BTNH = q_BNTH.new_empty(batch, tokens, heads, width)
    grad_k, grad_v = k.new_zeros(k.shape), v.new_zeros(v.shape)
    for block in _blocks(tokens, k.shape[1], queries_BT, keys_BS):
        weights = _weights(q_BNTH, k, block)
        grad, out, q = (_rows(x_BNTH, k.shape[0], block) for x_BNTH in (grad_BNTH, out_BNTH, q_BNTH))
        grad_v[:, block.keys] += torch.bmm(weights.transpose(1, 2), grad)
        # The softmax's Jacobian takes from each weight's gradient its row's weighted mean, which is grad . out.
        means = out.mul_(grad).sum(-1, keepdim=True)
        grad_scores = torch.bmm(grad, v[:, block.keys].transpose(1, 2)).sub_(means).mul_(weights)
        grad_q = torch.bmm(grad_scores, k[:, block.keys]).mul_(width**-0.5)
        grad_q_BTNH[:, block.queries] = grad_q.view(batch, heads, -1, width).transpose(1, 2)
        grad_k[:, block.keys] += torch.bmm(grad_scores.transpose(1, 2), q.mul_(width**-0.5))
    return grad_q_BTNH.transpose(1, 2), grad_k.view(k_BKSH.shape), grad_v.view(v_BKSH.shape)


def _blocks(tokens: int, n_keys: int, queries_BT: Tensor | None, keys_BS: Tensor | None) -> Iterator[_Block]:
    starts, offset = range(0, tokens, BLOCK), n_keys - tokens
    firsts = [0] * len(starts)
    if queries_BT is not None and keys_BS is not None:
        some_BQJ, _ = seen_blocks(queries_BT, keys_BS, BLOCK)
        firsts = (some_BQJ.any(0).int().argmax(1) * BLOCK).tolist()
    for start, first in zip(starts, firsts, strict=True):
        end = min(start + BLOCK, tokens)
        queries, keys = slice(start, end), slice(first, end + offset)
        future_CC = torch.ones(end - start, end - start, dtype=torch.bool).triu_(1)
        masked_BCE = None
        if queries_BT is not None and keys_BS is not None:
            masked_BCE = queries_BT[:, queries, None] != keys_BS[:, None, keys]
            masked_BCE[..., start - end :] |= future_CC
        yield _Block(queries, keys, masked_BCE, future_CC)


def _rows(x_BNTH: Tensor, rows: int, block: _Block) -> Tensor:
    """A copy of the block's queries with the heads that share keys below each other, (B K, R, H)."""
    x = x_BNTH.new_empty(*x_BNTH.shape[:2], block.queries.stop - block.queries.start, x_BNTH.shape[3])
    return x.copy_(x_BNTH[:, :, block.queries]).view(rows, -1, x_BNTH.shape[3])


def _weights(q_BNTH: Tensor, k: Tensor, block: _Block) -> Tensor:
    """Attention weights of the block's queries, (B K, R, E)."""
    q = _rows(q_BNTH, k.shape[0], block).mul_(q_BNTH.shape[3] ** -0.5)
    scores = torch.bmm(q, k[:, block.keys].transpose(1, 2))
    size = len(block.future_CC)
    scores_BNCE = scores.view(*q_BNTH.shape[:2], size, -1)
    if block.masked_BCE is None:
        scores_BNCE[..., -size:].masked_fill_(block.future_CC, float("-inf"))
    else:
        scores_BNCE.masked_fill_(block.masked_BCE[:, None], float("-inf"))
    return torch.softmax(scores, dim=-1, out=scores)


@_forward.register_fake
def _(
    q_BNTH: Tensor, k_BKSH: Tensor, v_BKSH: Tensor, queries_BT: Tensor | None, keys_BS: Tensor | None
) -> Tensor:  # fmt: skip
    return torch.empty_like(q_BNTH.transpose(1, 2), memory_format=torch.contiguous_format).transpose(1, 2)


@_backward.register_fake
def _(
    grad_BNTH: Tensor, q_BNTH: Tensor, k_BKSH: Tensor, v_BKSH: Tensor, out_BNTH: Tensor,
    queries_BT: Tensor | None, keys_BS: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    contiguous = torch.contiguous_format
    return (
        torch.empty_like(q_BNTH.transpose(1, 2), memory_format=contiguous).transpose(1, 2),
        torch.empty_like(k_BKSH, memory_format=contiguous),
        torch.empty_like(v_BKSH, memory_format=contiguous),
    )


def _save(ctx: Any, inputs: tuple[Tensor | None, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:3], output, *inputs[3:])


def _differentiate(ctx: Any, grad_BNTH: Tensor) -> tuple[Tensor | None, ...]:
    saved = ctx.saved_tensors
    return *torch.ops.puna.causal_attention_backward(grad_BNTH, *saved), None, None


_forward.register_autograd(_differentiate, setup_context=_save)
