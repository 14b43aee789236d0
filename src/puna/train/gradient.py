"""The gradient's norm over all devices, and its clipping (LLaMA, section 2.3: 1.0)."""

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor


def clip_gradient(model: nn.Module, max_norm: float) -> Tensor:
    """The norm of the whole gradient before it is scaled down to `max_norm`, a scalar that is equal on all devices."""
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    return norm.full_tensor() if isinstance(norm, DTensor) else norm
