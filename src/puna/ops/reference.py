"""The slow and obvious version of each operation, in float64: what the fast ones are tested against."""

import torch
from torch import Tensor


def reference_token_losses(x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, ignore_index: int = -1) -> Tensor:
    """Each token's negative log-likelihood in nats, (N,) float64, by all logits at once; 0 for ignored rows."""
    log_probs_NV = torch.log_softmax(x_ND.double() @ weight_VD.double().T, dim=1)
    counted_N = targets_N != ignore_index
    picked_N = log_probs_NV.gather(1, targets_N.where(counted_N, 0)[:, None])[:, 0]
    return torch.where(counted_N, -picked_N, 0.0)
