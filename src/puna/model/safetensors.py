"""Write safetensors files tensor by tensor, so that no second copy of the weights is ever in memory.

The library's own writer wants all tensors at once and hides the operating system's error when the disk is full. The
format: 8 bytes, the little-endian length of the header; the header, JSON with the dtype, shape and place of every
tensor, padded with spaces to a multiple of 8; the tensors' bytes, one after the other.
"""

import hashlib
import json
import struct
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}


def write_safetensors(
    path: Path,
    likes: Mapping[str, Tensor],
    content_of: Callable[[str], Tensor],
    digest: "hashlib._Hash | None" = None,
) -> None:
    """Write tensors in the order of `likes`, one in memory at a time; two where the file is hashed.

    Args:
        path: The file.
        likes: By the tensors' names in the file, tensors of their dtypes and shapes, on any device, `meta` too.
        content_of: Gives the content for a name; called once for each, in their order.
        digest: Is given the file's bytes, by a thread, while the next tensor is read and written.

    Raises:
        OSError: The file cannot be written; the disk may be full.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, like in likes.items():
        start, end = end, end + like.numel() * like.element_size()
        header[name] = {"dtype": _DTYPES[like.dtype], "shape": list(like.shape), "data_offsets": [start, end]}
    content = json.dumps(header, separators=(",", ":")).encode()
    content += b" " * (-len(content) % 8)
    with path.open("wb") as file, ThreadPoolExecutor(1) as hasher:
        hashed: Future[None] | None = None

        def put(piece: bytes | memoryview) -> None:
            nonlocal hashed
            if hashed is not None:
                hashed.result()
            hashed = None if digest is None else hasher.submit(digest.update, piece)
            file.write(piece)

        put(struct.pack("<Q", len(content)) + content)
        for name in likes:
            put(tensor_bytes(content_of(name)))
        if hashed is not None:
            hashed.result()


def sort_metadata(path: Path) -> None:
    """Put the free texts in a file's header in the order of their keys, in place.

    The library writes them in the order of a hash table with a random seed, so that equal tensors make unequal files.
    A header that would become longer stays as it is.

    Raises:
        OSError: The file cannot be written.
    """
    with path.open("r+b") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
        content = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(content) <= length:
            file.seek(8)
            file.write(content.ljust(length))


def tensor_bytes(tensor: Tensor) -> memoryview:
    """The bytes of a tensor in the order of its axes, little-endian; copied only if its memory has another order."""
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
