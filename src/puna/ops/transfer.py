"""From the host's memory to the device's, without waiting for what the device is doing."""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def sent(array: NDArray[Any], device: torch.device) -> Tensor:
    """The array on the device, in order with the work that the device was given before.

    To a GPU it travels from page-locked memory, because a copy from any other makes this process wait until all work
    before it is done. The memory belongs to PyTorch's cache, which does not give it to others before it has been read.
    """
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
