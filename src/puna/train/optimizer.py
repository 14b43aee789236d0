"""AdamW as the paper sets it: decoupled weight decay on matrices, none on the gains of norms."""

import torch
from torch import nn

from puna.config.recipe import OptimConfig


def build_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) over the model's parameters, in one fused pass over memory.

    Embeddings count as matrices. The learning rate is set at every step by the schedule.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), eps=config.eps, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Make `lr` the learning rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def ensure_state(model: nn.Module, optimizer: torch.optim.AdamW) -> None:
    """Give every parameter its zero moments, so that a checkpoint has somewhere to be read into."""
    for parameter in model.parameters():
        if not optimizer.state[parameter]:
            optimizer.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
