"""Part of a file as memory: read from the disk on access, released with the last tensor that uses it."""

import ctypes
import mmap
import weakref
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from puna.core.bounded import open_regular
from puna.core.errors import FormatError


def mapped(path: Path, begin: int, count: int, dtype: torch.dtype) -> Tensor:
    """`count` numbers of a file, from the byte `begin` on, as a tensor of one axis.

    Changes to it stay in memory and never reach the file. It is not Python's `mmap`, which keeps the file open for each
    map: a model has more tensors than a process may have open files.

    Raises:
        FormatError: The file cannot be read, or has become shorter than that.
    """
    length = count * dtype.itemsize
    if not length:
        return torch.empty(0, dtype=dtype)
    first = begin - begin % mmap.ALLOCATIONGRANULARITY
    size = begin + length - first
    try:
        with open_regular(path, FormatError) as file:
            if file.seek(0, 2) < begin + length:
                raise FormatError(f"{path}: has become shorter since it was opened")
            address = _libc().mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE, file.fileno(), first)
            if address == ctypes.c_void_p(-1).value:  # the system cannot map it
                file.seek(begin)
                return torch.frombuffer(bytearray(file.read(length)), dtype=dtype)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror}") from None
    view = (ctypes.c_char * length).from_address(address + begin - first)
    release = weakref.finalize(view, _libc().munmap, address, size)
    release.atexit = False  # pyrefly: ignore[missing-attribute]
    if begin % dtype.itemsize:
        return torch.frombuffer(view, dtype=torch.uint8).clone().view(dtype)
    return torch.frombuffer(view, dtype=dtype)


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (
        ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_ssize_t,
    )  # fmt: skip
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    return libc
