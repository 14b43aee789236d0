"""Rotary frequencies that lie among the weights: numbers that follow from the base, which no reader needs.

Old files hold them for every layer, or once, and in half precision. They are passed over, but first compared: where
they are those of another base than the configuration's, one of the two is wrong, and it cannot be told which.
"""

import re
from pathlib import Path

import torch
from torch import Tensor

from puna.config.recipe import ModelConfig
from puna.core.errors import FormatError
from puna.model.llama import rope_frequencies

_NAME = re.compile(r"(^|\.)(rope\.freqs|inv_freq)$")
_FEW_STEPS = 1e-5
"""Relative; powers in float32 are off by some 1e-6, as the exponent, at most the logarithm of the base, is rounded."""


def is_frequencies(name: str) -> bool:
    """Whether a tensor of this name holds rotary frequencies: `rope.freqs` of Meta's files, `inv_freq` of others."""
    return _NAME.search(name) is not None


def check_frequencies(path: Path, name: str, found: Tensor, config: ModelConfig) -> None:
    """Refuse frequencies that are not those of the decoder, plain or scaled, as far as their dtype tells.

    Args:
        path: The file.
        name: The tensor's name in it.
        found: The tensor, (H/2) or with axes of 1 before.
        config: The decoder.

    Raises:
        FormatError: They are of another base, or of heads of another width.
    """
    pairs = config.head_dim // 2
    if found.numel() != pairs or not found.dtype.is_floating_point:
        raise FormatError(f"{path}: {name} is {list(found.shape)} of {found.dtype}, but a head has {pairs} pairs")
    kind = torch.finfo(found.dtype)
    numbers = found.flatten().double()
    for scaling in dict.fromkeys((None, config.rope_scaling)):
        expected = rope_frequencies(config.head_dim, config.rope_theta, scaling).double()
        if torch.allclose(numbers, expected, rtol=max(kind.eps, _FEW_STEPS), atol=kind.smallest_normal * kind.eps):
            return
    last = numbers[-1].item()
    about = last ** (-config.head_dim / (config.head_dim - 2)) if pairs > 1 and 0 < last < 1 else float("nan")
    raise FormatError(
        f"{path}: {name} holds other rotary frequencies than those of rope_theta = {config.rope_theta:g}; they are of "
        f"about {about:.3g}",
        hint="where no file states rope_theta, --rope-theta does; else remove the tensor, if the file is right",
    )
