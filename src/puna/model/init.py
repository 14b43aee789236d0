"""Initial weights: normal, smaller where a matrix writes to the residual stream."""

import math

import torch

from puna.model.llama import Llama

_WRITES_TO_STREAM = (".wo.weight", ".w2.weight")


@torch.no_grad()
def init_weights(model: Llama, seed: int) -> None:
    """Fill every parameter in place; the same seed gives the same weights on every device.

    Matrices are normal with `init_std`; wo and w2 get it divided by sqrt(2 n_layers), so that the stream's variance
    does not grow with depth (Radford et al. 2019, section 2.3); the gains of norms are one.
    """
    config = model.config
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2:
            parameter.fill_(1.0)
            continue
        std = config.init_std
        if name.endswith(_WRITES_TO_STREAM):
            std /= math.sqrt(2 * config.n_layers)
        # Drawn on the CPU in float32, tensor by tensor: the device and the dtype don't change the numbers.
        parameter.copy_(torch.empty(parameter.shape).normal_(0.0, std, generator=generator))
