"""Attention under a mask on a GPU.

FlexAttention computes only the blocks of scores that are not masked (Dong et al. 2024, section 4).

Axes: B batch   N query heads   K key and value heads   T queries, the last T of the keys' positions   S keys
H head width
"""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from puna.ops.blocks import seen_blocks

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

_BLOCK = 128
"""Queries and keys of a block of the mask; FlexAttention's default."""

_NARROWEST = 16
"""The smallest head width that its kernels take."""


def block_mask(queries_BT: Tensor, keys_BS: Tensor) -> "BlockMask":
    """The blocks of scores to compute, and the rule within a block, for queries and keys of these documents."""
    # A tensor, because compiled code turns a changing number into a symbol, which not every kernel can read.
    offset = torch.full((), keys_BS.shape[1] - queries_BT.shape[1], dtype=torch.int32, device=keys_BS.device)

    def within_document(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query + offset) & (queries_BT[batch, query] == keys_BS[batch, key])

    return _block_mask(queries_BT, keys_BS, within_document)


def flex_causal_attention(q_BNTH: Tensor, k_BKSH: Tensor, v_BKSH: Tensor, blocks: "BlockMask | None") -> Tensor:
    """`puna.ops.attention.causal_attention` by FlexAttention; without blocks the documents don't matter."""
    if blocks is None:
        blocks = _causal_blocks(q_BNTH.shape[2], k_BKSH.shape[2], k_BKSH.device)
    width = q_BNTH.shape[3]
    if width < _NARROWEST:
        q_BNTH, k_BKSH, v_BKSH = (F.pad(x, (0, _NARROWEST - width)) for x in (q_BNTH, k_BKSH, v_BKSH))
    grouped = q_BNTH.shape[1] != k_BKSH.shape[1]
    if torch.compiler.is_compiling():
        from torch.nn.attention.flex_attention import flex_attention

        out_BNTH = flex_attention(
            q_BNTH, k_BKSH, v_BKSH, block_mask=blocks, scale=width**-0.5, enable_gqa=grouped
        )  # fmt: skip
    else:
        # Compiled even where everything else runs eagerly: uncompiled it would write out all scores.
        with torch.compiler.set_stance("default"):
            out_BNTH = _compiled()(
                q_BNTH, k_BKSH, v_BKSH, block_mask=blocks, scale=width**-0.5, enable_gqa=grouped
            )  # fmt: skip
    return out_BNTH[..., :width]


def _causal_blocks(n_queries: int, n_keys: int, device: torch.device) -> "BlockMask":
    offset = n_keys - n_queries

    def causal(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return key <= query + offset

    one_document_1S = torch.zeros(1, n_keys, dtype=torch.int32, device=device)
    return _block_mask(one_document_1S[:, offset:], one_document_1S, causal)


def _block_mask(queries_BT: Tensor, keys_BS: Tensor, allowed: Callable[..., Tensor]) -> "BlockMask":
    from torch.nn.attention.flex_attention import BlockMask

    some_BQJ, all_BQJ = seen_blocks(queries_BT, keys_BS, _BLOCK)
    return BlockMask.from_kv_blocks(
        *_ordered(some_BQJ & ~all_BQJ),
        *_ordered(all_BQJ),
        BLOCK_SIZE=_BLOCK,
        mask_mod=allowed,
        seq_lengths=(queries_BT.shape[1], keys_BS.shape[1]),
    )


def _ordered(chosen_BQJ: Tensor) -> tuple[Tensor, Tensor]:
    """For each block of queries how many blocks of keys are chosen, and all blocks with the chosen ones first."""
    chosen_B1QJ = chosen_BQJ[:, None].int()
    indices_B1QJ = chosen_B1QJ.argsort(dim=-1, descending=True, stable=True)
    return chosen_B1QJ.sum(-1, dtype=torch.int32), indices_B1QJ.int()


@cache
def _compiled() -> Callable[..., Tensor]:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention)
