"""The slow and obvious version of each operation, in float64: what the fast ones are tested against."""

import torch
from torch import Tensor


def reference_token_losses(x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, ignore_index: int = -1) -> Tensor:
    """Each token's negative log-likelihood in nats, (N,) float64, by all logits at once; 0 for ignored rows."""
    log_probs_NV = torch.log_softmax(x_ND.double() @ weight_VD.double().T, dim=1)
    counted_N = targets_N != ignore_index
    picked_N = log_probs_NV.gather(1, targets_N.where(counted_N, 0)[:, None])[:, 0]
    return torch.where(counted_N, -picked_N, 0.0)


def reference_causal_attention(q_BNTH: Tensor, k_BKTH: Tensor, v_BKTH: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(H)) v with every score written out, in float64; key heads are repeated for their queries."""
    group, tokens = q_BNTH.shape[1] // k_BKTH.shape[1], q_BNTH.shape[2]
    k_BNTH, v_BNTH = (x_BKTH.double().repeat_interleave(group, dim=1) for x_BKTH in (k_BKTH, v_BKTH))
    scores_BNTS = q_BNTH.double() @ k_BNTH.transpose(-1, -2) / q_BNTH.shape[3] ** 0.5
    future_TS = torch.ones(tokens, tokens, dtype=torch.bool).triu(1)
    return torch.softmax(scores_BNTS.masked_fill(future_TS, float("-inf")), dim=-1) @ v_BNTH
