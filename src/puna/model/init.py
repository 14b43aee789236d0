"""Initial weights that depend on the seed alone: not on the device, and not on what was drawn before.

Normal with the recipe's standard deviation; the two matrices of a block that write to the residual stream are scaled
by 1/sqrt(2 n_layers), so that its variance does not grow with depth (Radford et al. 2019, section 2.3). The LLaMA
paper gives no initialisation.
"""

import math

import torch

from puna.model.llama import Llama

_WRITES_TO_RESIDUAL = ("attention.wo.weight", "feed_forward.w2.weight")


@torch.no_grad()
def init_weights(model: Llama, seed: int) -> None:
    """Fill every parameter in place, wherever it is; a model made on the meta device must have been given memory.

    Args:
        model: The decoder; its configuration gives the standard deviation.
        seed: Equal seeds give equal weights, bit by bit, on every device.
    """
    config = model.config
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if name.endswith("norm.weight"):
            parameter.fill_(1.0)
            continue
        std = config.init_std
        if name.endswith(_WRITES_TO_RESIDUAL):
            std /= math.sqrt(2 * config.n_layers)
        drawn = torch.empty(parameter.shape, dtype=torch.float32).normal_(0.0, std, generator=generator)
        parameter.copy_(drawn)
