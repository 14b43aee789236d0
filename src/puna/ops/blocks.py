"""Which blocks of keys the queries of a block may see, from the range of documents that each block holds.

The result is exact where documents are numbered in their order; elsewhere it may name more blocks, never fewer. The
cost grows with the pairs of blocks, not with the pairs of tokens.

Axes: B batch   T queries, the last T of the keys' positions   S keys   Q blocks of queries   J blocks of keys
"""

import torch
from torch import Tensor


def seen_blocks(queries_BT: Tensor, keys_BS: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Two tensors (B, Q, J): whether some pair of the two blocks is not masked, and whether no pair is.

    Args:
        queries_BT: Number of the document of each query.
        keys_BS: Number of the document of each key.
        size: Tokens of a block; a shorter one at an end never counts as wholly seen.
    """
    n_queries, n_keys = queries_BT.shape[1], keys_BS.shape[1]
    lowest_BQ1, highest_BQ1 = (x_BQ[:, :, None] for x_BQ in _ranges(queries_BT, size))
    lowest_B1J, highest_B1J = (x_BJ[:, None] for x_BJ in _ranges(keys_BS, size))
    start_Q1 = torch.arange(0, n_queries, size, device=queries_BT.device)[:, None]
    start_J = torch.arange(0, n_keys, size, device=queries_BT.device)
    offset = n_keys - n_queries
    some_BQJ = (lowest_BQ1 <= highest_B1J) & (lowest_B1J <= highest_BQ1)
    some_BQJ = some_BQJ & (start_J < (start_Q1 + size).clamp(max=n_queries) + offset)
    one_document_BQJ = (lowest_BQ1 == highest_B1J) & (lowest_B1J == highest_BQ1)
    whole_QJ = (start_Q1 + size <= n_queries) & (start_J + size <= n_keys) & (start_J + size - 1 <= start_Q1 + offset)
    return some_BQJ, one_document_BQJ & whole_QJ


def _ranges(documents_BT: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Lowest and highest document of each block, (B, Q) each."""
    missing = -documents_BT.shape[1] % size
    padded = torch.cat((documents_BT, documents_BT[:, -1:].expand(-1, missing)), dim=1)
    blocks_BQT = padded.unflatten(1, (-1, size))
    return blocks_BQT.amin(2), blocks_BQT.amax(2)
