"""Causal attention in float32 on a CPU, by blocks of queries.

With a C++ compiler, both passes run block by block in a core's cache (`cpu/attention.cpp`). Without one, and on more
threads than there are heads, a block's scores are one batched matrix product with its keys: from the first that any of
its queries may see up to the block's end. The backward pass computes the weights again instead of having kept them.

The memory of the output and of all gradients is in the order (B, T, N, H), in which the layers around read it.

Axes: B batch   N query heads   K key and value heads   T queries, the last T of the keys' positions   S keys
H head width   C queries of a block   E keys of a block   R rows of a block: its queries of all heads that share keys
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from puna.ops import cpu
from puna.ops.blocks import seen_blocks
from puna.ops.cpu.attention import backward_in_cache, empty_like, forward_in_cache

BLOCK = 128
"""Queries per block: small blocks compute fewer masked scores, large ones have larger products. 64 is as fast."""


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
) -> tuple[Tensor, Tensor]:
    """Attention, and the logarithm of every query's sum of exponentials, (B, N, T)."""
    out_BNTH, log_sums_BNT = empty_like(q_BNTH), q_BNTH.new_empty(q_BNTH.shape[:3])
    forward = forward_in_cache if _in_cache(q_BNTH) else forward_by_products
    forward(q_BNTH, k_BKSH, v_BKSH, queries_BT, keys_BS, out_BNTH, log_sums_BNT)
    return out_BNTH, log_sums_BNT


@torch.library.custom_op("puna::causal_attention_backward", mutates_args=())
def _backward(
    grad_BNTH: Tensor, q_BNTH: Tensor, k_BKSH: Tensor, v_BKSH: Tensor, out_BNTH: Tensor, log_sums_BNT: Tensor,
    queries_BT: Tensor | None, keys_BS: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    backward = backward_in_cache if _in_cache(q_BNTH) else backward_by_products
    return backward(grad_BNTH, q_BNTH, k_BKSH, v_BKSH, out_BNTH, log_sums_BNT, queries_BT, keys_BS)


def _in_cache(q_BNTH: Tensor) -> bool:
    """Whether the compiled operator runs: it gives one head to one thread."""
    return q_BNTH.shape[0] * q_BNTH.shape[1] >= torch.get_num_threads() and cpu.library() is not None


def forward_by_products(
    q_BNTH: Tensor, k_BKSH: Tensor, v_BKSH: Tensor, queries_BT: Tensor | None, keys_BS: Tensor | None,
    out_BNTH: Tensor, log_sums_BNT: Tensor,
) -> None:  # fmt: skip
    """Write both outputs by PyTorch's batched products."""
    batch, heads, tokens, width = q_BNTH.shape
    k, v = k_BKSH.flatten(0, 1), v_BKSH.flatten(0, 1)
    for block in _blocks(tokens, k.shape[1], queries_BT, keys_BS):
        scores = _scores(q_BNTH, k, block)
        log_sums = scores.logsumexp(2, keepdim=True)
        out = torch.bmm(scores.sub_(log_sums).exp_(), v[:, block.keys])
        out_BNTH[:, :, block.queries] = out.view(batch, heads, -1, width)
        log_sums_BNT[:, :, block.queries] = log_sums.view(batch, heads, -1)


def backward_by_products(
    grad_BNTH: Tensor, q_BNTH: Tensor, k_BKSH: Tensor, v_BKSH: Tensor, out_BNTH: Tensor, log_sums_BNT: Tensor,
    queries_BT: Tensor | None, keys_BS: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The gradients of queries, keys and values by PyTorch's batched products."""
    batch, heads, tokens, width = q_BNTH.shape
    k, v = k_BKSH.flatten(0, 1), v_BKSH.flatten(0, 1)
    grad_q_BNTH, grad_k_BKSH, grad_v_BKSH = empty_like(q_BNTH), empty_like(k_BKSH), empty_like(v_BKSH)
    grad_k, grad_v = k.new_zeros(k.shape), v.new_zeros(v.shape)
    for block in _blocks(tokens, k.shape[1], queries_BT, keys_BS):
        log_sums = _rows(log_sums_BNT[..., None], k.shape[0], block)
        weights = _scores(q_BNTH, k, block).sub_(log_sums).exp_()
        grad, out, q = (_rows(x_BNTH, k.shape[0], block) for x_BNTH in (grad_BNTH, out_BNTH, q_BNTH))
        grad_v[:, block.keys] += torch.bmm(weights.transpose(1, 2), grad)
        # The softmax's Jacobian subtracts from each weight's gradient its row's weighted mean, which is grad . out.
        means = out.mul_(grad).sum(-1, keepdim=True)
        grad_scores = torch.bmm(grad, v[:, block.keys].transpose(1, 2)).sub_(means).mul_(weights)
        grad_q = torch.bmm(grad_scores, k[:, block.keys]).mul_(width**-0.5)
        grad_q_BNTH[:, :, block.queries] = grad_q.view(batch, heads, -1, width)
        grad_k[:, block.keys] += torch.bmm(grad_scores.transpose(1, 2), q.mul_(width**-0.5))
    grad_k_BKSH.copy_(grad_k.view(k_BKSH.shape))
    grad_v_BKSH.copy_(grad_v.view(v_BKSH.shape))
    return grad_q_BNTH, grad_k_BKSH, grad_v_BKSH


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


def _scores(q_BNTH: Tensor, k: Tensor, block: _Block) -> Tensor:
    """Scores of the block's queries, (B K, R, E), minus infinity where a key is masked."""
    q = _rows(q_BNTH, k.shape[0], block).mul_(q_BNTH.shape[3] ** -0.5)
    scores = torch.bmm(q, k[:, block.keys].transpose(1, 2))
    size = len(block.future_CC)
    scores_BNCE = scores.view(*q_BNTH.shape[:2], size, -1)
    if block.masked_BCE is None:
        scores_BNCE[..., -size:].masked_fill_(block.future_CC, float("-inf"))
    else:
        scores_BNCE.masked_fill_(block.masked_BCE[:, None], float("-inf"))
    return scores


@_forward.register_fake
def _(
    q_BNTH: Tensor, k_BKSH: Tensor, v_BKSH: Tensor, queries_BT: Tensor | None, keys_BS: Tensor | None
) -> tuple[Tensor, Tensor]:  # fmt: skip
    return empty_like(q_BNTH), q_BNTH.new_empty(q_BNTH.shape[:3])


@_backward.register_fake
def _(
    grad_BNTH: Tensor, q_BNTH: Tensor, k_BKSH: Tensor, v_BKSH: Tensor, out_BNTH: Tensor, log_sums_BNT: Tensor,
    queries_BT: Tensor | None, keys_BS: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    return empty_like(q_BNTH), empty_like(k_BKSH), empty_like(v_BKSH)


def _save(ctx: Any, inputs: tuple[Tensor | None, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs[:3], *output, *inputs[3:])


def _differentiate(ctx: Any, grad_BNTH: Tensor, grad_log_sums: None) -> tuple[Tensor | None, ...]:
    saved = ctx.saved_tensors
    return *torch.ops.puna.causal_attention_backward(grad_BNTH, *saved), None, None


_forward.register_autograd(_differentiate, setup_context=_save)
