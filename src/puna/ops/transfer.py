"""Copies from the host's memory to the device's, without waiting for the device's work."""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def sent(array: NDArray[Any], device: torch.device) -> Tensor:
    """The array on the device, copied after the work that the device was given before.

    To a GPU it is copied from page-locked memory, because a copy from other memory makes this process wait until all
    earlier work is done. The memory belongs to PyTorch's cache, which does not reuse it before it has been read.
    """
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
