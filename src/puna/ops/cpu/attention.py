"""Calls of attention.cpp: causal attention in float32, block by block in a core's cache.

Axes as in puna.ops.blocked.
"""

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from puna.ops.cpu import compiled


class Heads(ctypes.Structure):
    """A (B, heads, tokens, H) tensor whose last axis is contiguous, as attention.cpp has it."""

    _fields_ = (
        ("data", ctypes.c_void_p), ("batch", ctypes.c_int64), ("head", ctypes.c_int64), ("token", ctypes.c_int64)
    )  # fmt: skip

    @classmethod
    def of(cls, x_BNTH: Tensor) -> "Heads":
        """The tensor's memory, which must outlive this."""
        return cls(x_BNTH.data_ptr(), *x_BNTH.stride()[:3])


class Documents(ctypes.Structure):
    """The documents of queries and keys, int32, or nulls."""

    _fields_ = (("queries", ctypes.c_void_p), ("keys", ctypes.c_void_p))


class Sizes(ctypes.Structure):
    """The sizes of one call of attention, and the threads that may work."""

    _fields_ = tuple(
        (name, ctypes.c_int64) for name in ("batch", "heads", "key_heads", "tokens", "keys", "width", "threads")
    )


def empty_like(x_BNTH: Tensor) -> Tensor:
    """A new tensor of the same shape whose memory is in the order (B, T, N, H)."""
    return torch.empty_like(x_BNTH.transpose(1, 2), memory_format=torch.contiguous_format).transpose(1, 2)


def forward_in_cache(
    q_BNTH: Tensor, k_BKSH: Tensor, v_BKSH: Tensor, queries_BT: Tensor | None, keys_BS: Tensor | None,
    out_BNTH: Tensor, log_sums_BNT: Tensor,
) -> None:  # fmt: skip
    """Write both outputs by the compiled operator."""
    q_BNTH, k_BKSH, v_BKSH = (_rows_contiguous(x) for x in (q_BNTH, k_BKSH, v_BKSH))
    documents = [x if x is None else x.to(torch.int32).contiguous() for x in (queries_BT, keys_BS)]
    compiled().puna_attention(
        _sizes(q_BNTH, k_BKSH), *map(Heads.of, (q_BNTH, k_BKSH, v_BKSH)), _documents(documents),
        Heads.of(out_BNTH), ctypes.c_void_p(log_sums_BNT.data_ptr()),
    )  # fmt: skip


def backward_in_cache(
    grad_BNTH: Tensor, q_BNTH: Tensor, k_BKSH: Tensor, v_BKSH: Tensor, out_BNTH: Tensor, log_sums_BNT: Tensor,
    queries_BT: Tensor | None, keys_BS: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The gradients of queries, keys and values by the compiled operator."""
    grad_BNTH, q_BNTH, k_BKSH, v_BKSH = (_rows_contiguous(x) for x in (grad_BNTH, q_BNTH, k_BKSH, v_BKSH))
    documents = [x if x is None else x.to(torch.int32).contiguous() for x in (queries_BT, keys_BS)]
    heads, key_heads = q_BNTH.shape[1], k_BKSH.shape[1]
    # For every query head; those that share a key head are summed below, in the order of the heads.
    shape = q_BNTH.shape[0], k_BKSH.shape[2], heads, q_BNTH.shape[3]
    grad_q_BNTH = empty_like(q_BNTH)
    grad_k_BNSH, grad_v_BNSH = (q_BNTH.new_empty(shape).transpose(1, 2) for _ in range(2))
    compiled().puna_attention_backward(
        _sizes(q_BNTH, k_BKSH), *map(Heads.of, (grad_BNTH, q_BNTH, k_BKSH, v_BKSH, out_BNTH)),
        ctypes.c_void_p(log_sums_BNT.data_ptr()), _documents(documents),
        *map(Heads.of, (grad_q_BNTH, grad_k_BNSH, grad_v_BNSH)),
    )  # fmt: skip
    if heads == key_heads:
        return grad_q_BNTH, grad_k_BNSH, grad_v_BNSH
    return grad_q_BNTH, _summed(grad_k_BNSH, key_heads), _summed(grad_v_BNSH, key_heads)


def _summed(x_BNSH: Tensor, key_heads: int) -> Tensor:
    """The sums over query heads that share a key head, (B, K, S, H)."""
    return x_BNSH.transpose(1, 2).unflatten(2, (key_heads, -1)).sum(3).transpose(1, 2)


def _rows_contiguous(x_BNTH: Tensor) -> Tensor:
    return x_BNTH if x_BNTH.stride(3) == 1 else x_BNTH.contiguous()


def _sizes(q_BNTH: Tensor, k_BKSH: Tensor) -> Sizes:
    batch, heads, tokens, width = q_BNTH.shape
    return Sizes(batch, heads, k_BKSH.shape[1], tokens, k_BKSH.shape[2], width, torch.get_num_threads())


def _documents(documents: Sequence[Tensor | None]) -> Documents:
    return Documents(*(None if x is None else x.data_ptr() for x in documents))
