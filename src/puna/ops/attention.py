"""Causal self-attention that keeps no weights and computes no block of masked scores (LLaMA, section 2.4).

PyTorch's own kernel does both on a GPU, unless documents divide the sequence: then FlexAttention skips the blocks of
other documents. PyTorch's kernel for CPUs takes as long as without a mask, so float32 on a CPU has an operator of its
own. `attention_backend` chooses.

The queries are the last T of the S positions that have keys: T = S in training, T < S where a cache holds earlier keys
and where context parallelism gives a device a part of the sequence.

Axes: B batch   N query heads   K key and value heads   T queries   S keys   H head width
"""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

import puna.ops.blocked
from puna.ops.flex import block_mask, flex_causal_attention

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

BLOCKED, FLEX, PYTORCH = "blocked", "flex_attention", "scaled_dot_product_attention"
"""Names of the kernels."""

_FEWEST = 2 * puna.ops.blocked.BLOCK
"""Number of queries from which blocks are faster than one product."""


class Mask(NamedTuple):
    """Which document each token belongs to: a query looks at the keys of its own document only."""

    queries_BT: Tensor
    """Number of the document of each query."""
    keys_BS: Tensor
    """Number of the document of each key."""
    blocks: "BlockMask | None" = None
    """The same mask in FlexAttention's form; None for other kernels."""


def document_mask(queries_BT: Tensor, keys_BS: Tensor | None = None) -> Mask:
    """The mask of one batch; made once and passed to every layer.

    Args:
        queries_BT: Number of the document of each query.
        keys_BS: Number of the document of each key, the queries' positions last; None where keys and queries are the
            same tokens.
    """
    keys_BS = queries_BT if keys_BS is None else keys_BS
    on_gpu = queries_BT.device.type == "cuda"
    return Mask(queries_BT, keys_BS, block_mask(queries_BT, keys_BS) if on_gpu else None)


def attention_backend(device_type: str, dtype: torch.dtype, tokens: int, masked: bool) -> tuple[str, str]:
    """Name of the kernel that `causal_attention` runs, and the reason.

    Args:
        device_type: Of the queries, as in `torch.device.type`.
        dtype: Of the queries.
        tokens: Queries (T).
        masked: Whether documents divide the sequence, or compiled code has fewer queries than keys.
    """
    if device_type == "cpu" and dtype == torch.float32 and tokens >= _FEWEST:
        return BLOCKED, f"float32 on a CPU with {_FEWEST} tokens or more, where it computes half as many scores"
    if device_type == "cuda" and masked:
        return FLEX, "a mask on CUDA, whose empty blocks it skips"
    if device_type == "cuda" and dtype != torch.float32:
        return PYTORCH, "cuDNN's kernel before flash attention, 1.4 to 1.8 times as fast on an H200"
    if masked:
        return PYTORCH, "a mask written out for every pair of tokens, because no other kernel is for this device"
    return PYTORCH, "PyTorch's choice among its own kernels"


@contextlib.contextmanager
def gpu_kernels(*, shapes_repeat: bool) -> Iterator[None]:
    """PyTorch's own kernels for GPUs in a stated order, instead of one that changes with its version.

    Measured on an H200, forward and backward at T 2048: cuDNN's kernel 280 to 370 TFLOP/s, flash attention 205, the
    memory-efficient one 100. cuDNN plans each new shape for 20 to 40 ms on the host, so where every call has another
    length, as in text that grows by a token, flash attention comes first.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel

    fastest = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION]
    order = fastest if shapes_repeat else fastest[::-1]
    with sdpa_kernel([*order, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH], set_priority=True):
        yield


def causal_attention(q_BNTH: Tensor, k_BKSH: Tensor, v_BKSH: Tensor, mask: Mask | None = None) -> Tensor:
    """softmax(q k^T / sqrt(H)) v over each query's position and those before it, (B, N, T, H).

    Args:
        q_BNTH: Queries of the last T positions; N is a multiple of K, and each key head serves N / K query heads in a
            row (Ainslie et al. 2023).
        k_BKSH: Keys of all positions.
        v_BKSH: Values of all positions.
        mask: Keeps attention within documents; every query's own position must be in its document.
    """
    n_queries, n_keys = q_BNTH.shape[2], k_BKSH.shape[2]
    if n_queries == 1 and mask is None:
        return F.scaled_dot_product_attention(q_BNTH, k_BKSH, v_BKSH, enable_gqa=q_BNTH.shape[1] != k_BKSH.shape[1])
    masked = mask is not None or (n_queries < n_keys and torch.compiler.is_compiling())
    kernel, _ = attention_backend(q_BNTH.device.type, q_BNTH.dtype, n_queries, masked)
    if kernel == BLOCKED:
        documents = (None, None) if mask is None else (mask.queries_BT, mask.keys_BS)
        return torch.ops.puna.causal_attention(q_BNTH, k_BKSH, v_BKSH, *documents)[0]
    if kernel == FLEX:
        return flex_causal_attention(q_BNTH, k_BKSH, v_BKSH, None if mask is None else mask.blocks)
    return _pytorch(q_BNTH, k_BKSH, v_BKSH, mask)


def _pytorch(q_BNTH: Tensor, k_BKSH: Tensor, v_BKSH: Tensor, mask: Mask | None) -> Tensor:
    n_queries, n_keys = q_BNTH.shape[2], k_BKSH.shape[2]
    grouped = q_BNTH.shape[1] != k_BKSH.shape[1]
    if mask is None and n_queries == n_keys:
        return F.scaled_dot_product_attention(q_BNTH, k_BKSH, v_BKSH, is_causal=True, enable_gqa=grouped)
    if mask is None and q_BNTH.device.type == "cuda":
        from torch.nn.attention.bias import causal_lower_right

        last = causal_lower_right(n_queries, n_keys)
        return F.scaled_dot_product_attention(q_BNTH, k_BKSH, v_BKSH, attn_mask=last, enable_gqa=grouped)
    allowed = torch.ones(n_queries, n_keys, dtype=torch.bool, device=q_BNTH.device).tril(n_keys - n_queries)
    if mask is not None:
        allowed = allowed & (mask.queries_BT[:, None, :, None] == mask.keys_BS[:, None, None, :])
    return F.scaled_dot_product_attention(q_BNTH, k_BKSH, v_BKSH, attn_mask=allowed, enable_gqa=grouped)
