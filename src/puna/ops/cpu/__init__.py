"""Training's operators for CPUs in C++; without a compiler, callers use a version in PyTorch's operators."""

import ctypes
from functools import cache
from pathlib import Path

import torch

from puna.core.console import warn
from puna.ops.cpu.builder import BuildError, build

_OPTIONS = ("-O3", "-std=c++20", "-fPIC", "-shared", "-fopenmp")
_INSTRUCTIONS = {"AVX512": ("-march=x86-64-v4",), "AVX2": ("-march=x86-64-v3",)}
"""Options for each instruction set that PyTorch itself uses, so that ATEN_CPU_CAPABILITY restricts both."""


@cache
def library() -> ctypes.CDLL | None:
    """The compiled operators; None where they cannot be compiled, with one warning."""
    try:
        options = (*_OPTIONS, *_INSTRUCTIONS.get(torch.backends.cpu.get_cpu_capability(), ()))
        return build(Path(__file__).parent, options)
    except BuildError as error:
        warn(f"{error}: training in float32 on this CPU is slower without its own operators")
        return None


def compiled() -> ctypes.CDLL:
    """The compiled operators, for callers that know that they exist."""
    operators = library()
    if operators is None:
        raise RuntimeError("no C++ compiler made the operators")
    return operators
