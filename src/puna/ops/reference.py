"""The slow and obvious version of each operation, in float64; the fast ones are tested against it."""

import torch
from torch import Tensor


def reference_token_losses(x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, ignore_index: int = -1) -> Tensor:
    """Each token's negative log-likelihood in nats, (N,) float64, by all logits at once; 0 for ignored rows."""
    log_probs_NV = torch.log_softmax(x_ND.double() @ weight_VD.double().T, dim=1)
    counted_N = targets_N != ignore_index
    picked_N = log_probs_NV.gather(1, targets_N.where(counted_N, 0)[:, None])[:, 0]
    return torch.where(counted_N, -picked_N, 0.0)


def reference_z_losses(x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, ignore_index: int = -1) -> Tensor:
    """Each token's squared logarithm of the softmax's denominator, (N,) float64; 0 for ignored rows."""
    log_sums_N = torch.logsumexp(x_ND.double() @ weight_VD.double().T, dim=1)
    return torch.where(targets_N != ignore_index, log_sums_N.square(), 0.0)


def reference_causal_attention(
    q_BNTH: Tensor, k_BKSH: Tensor, v_BKSH: Tensor, documents: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """softmax(q k^T / sqrt(H)) v with every score written out, in float64; key heads are repeated for their queries.

    The queries are the last of the keys' positions; `documents` are the numbers of each query's (B, T) and of each
    key's (B, S) document.
    """
    group, n_queries, n_keys = q_BNTH.shape[1] // k_BKSH.shape[1], q_BNTH.shape[2], k_BKSH.shape[2]
    k_BNSH, v_BNSH = (x_BKSH.double().repeat_interleave(group, dim=1) for x_BKSH in (k_BKSH, v_BKSH))
    scores_BNTS = q_BNTH.double() @ k_BNSH.transpose(-1, -2) / q_BNTH.shape[3] ** 0.5
    positions_S = torch.arange(n_keys)
    masked_BTS = (positions_S > positions_S[n_keys - n_queries :, None])[None]
    if documents is not None:
        queries_BT, keys_BS = documents
        masked_BTS = masked_BTS | (queries_BT[:, :, None] != keys_BS[:, None])
    return torch.softmax(scores_BNTS.masked_fill(masked_BTS[:, None], float("-inf")), dim=-1) @ v_BNSH
