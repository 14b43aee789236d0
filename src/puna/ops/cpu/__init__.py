"""Operators for CPUs in C++, compiled on the machine that runs them, at their first use.

The sources beside this file use no header of PyTorch, so that g++ or clang++ needs seconds; they are called through
ctypes. What was compiled is kept for this user and machine, under a name made of the sources, the compiler and its
options. Where there is no compiler, callers have their twin of PyTorch's operators.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from puna.core.console import warn

_HERE = Path(__file__).parent
_OPTIONS = ("-O3", "-std=c++20", "-fPIC", "-shared", "-fopenmp")
_INSTRUCTIONS = {"AVX512": ("-march=x86-64-v4",), "AVX2": ("-march=x86-64-v3",)}
"""Options by what PyTorch itself uses of this processor, so that ATEN_CPU_CAPABILITY restricts both alike."""


class Heads(ctypes.Structure):
    """A (B, heads, tokens, H) tensor whose last axis is contiguous, as attention.cpp has it."""

    _fields_ = (
        ("data", ctypes.c_void_p), ("batch", ctypes.c_int64), ("head", ctypes.c_int64), ("token", ctypes.c_int64)
    )  # fmt: skip

    @classmethod
    def of(cls, x_BNTH: Tensor) -> "Heads":
        """The tensor's memory, which must outlive this."""
        return cls(x_BNTH.data_ptr(), *x_BNTH.stride()[:3])


class Documents(ctypes.Structure):
    """The documents of queries and keys, int32, or nulls."""

    _fields_ = (("queries", ctypes.c_void_p), ("keys", ctypes.c_void_p))


class Sizes(ctypes.Structure):
    """The sizes of one call of attention, and the threads that may work."""

    _fields_ = tuple(
        (name, ctypes.c_int64) for name in ("batch", "heads", "key_heads", "tokens", "keys", "width", "threads")
    )


@cache
def library() -> ctypes.CDLL | None:
    """The compiled operators; None where they cannot be compiled, which is said once."""
    compiler = find_compiler()
    if compiler is None:
        return None
    options = (*_OPTIONS, *_INSTRUCTIONS.get(torch.backends.cpu.get_cpu_capability(), ()))
    try:
        return ctypes.CDLL(str(_built(compiler, options)))
    except (OSError, subprocess.SubprocessError) as error:
        output = getattr(error, "stderr", None) or str(error)
        warn(f"{compiler} could not compile Puna's operators for CPUs, training will be slower: {output[-500:]}")
        return None


def compiled() -> ctypes.CDLL:
    """The compiled operators, where the caller knows that there are some."""
    operators = library()
    if operators is None:
        raise RuntimeError("no C++ compiler made the operators")
    return operators


def find_compiler() -> str | None:
    """The path of a C++ compiler: $CXX, g++ or clang++."""
    for name in (os.environ.get("CXX"), "g++", "clang++"):
        if name and (path := shutil.which(name)):
            return path
    return None


def _built(compiler: str, options: tuple[str, ...]) -> Path:
    """The path of the compiled library, made where it is missing."""
    sources = sorted(path for path in _HERE.iterdir() if path.suffix in {".cpp", ".h"})
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    digest = hashlib.sha256(repr((version, options)).encode())
    for path in sources:
        digest.update(path.read_bytes())
    cache_home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    built = cache_home / "puna" / "operators" / f"{digest.hexdigest()[:32]}.so"
    if not built.exists():
        built.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=built.parent) as scratch:
            made = Path(scratch) / built.name
            files = [str(path) for path in sources if path.suffix == ".cpp"]
            subprocess.run([compiler, *options, "-o", str(made), *files], capture_output=True, text=True, check=True)
            made.replace(built)  # complete or not there, also where several processes compile
    return built
