"""Write safetensors files tensor by tensor, so that no second copy of the weights is ever in memory.

The library's own writer wants all tensors at once and hides the operating system's error when the disk is full. The
format: 8 bytes, the little-endian length of the header; the header, JSON with the dtype, shape and place of every
tensor, padded with spaces to a multiple of 8; the tensors' bytes, one after the other.
"""

import json
import struct
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}


def write_safetensors(
    path: Path,
    names: Collection[str],
    tensor_of: Callable[[str], Tensor],
    whole: Callable[[Tensor], Tensor] = lambda tensor: tensor,
) -> None:
    """Write the named tensors in this order.

    Args:
        path: The file.
        names: The tensors' names in the file.
        tensor_of: Gives a name's tensor; it is called twice, for the header and for the content.
        whole: Gives the content of a tensor of which this device has a part; called once for each name.

    Raises:
        OSError: The file cannot be written; the disk may be full.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in names:
        tensor = tensor_of(name)
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    content = json.dumps(header, separators=(",", ":")).encode()
    content += b" " * (-len(content) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(content)) + content)
        for name in names:
            file.write(whole(tensor_of(name)).detach().cpu().contiguous().view(torch.uint8).numpy().data)
