"""Operators for CPUs in C++, compiled on the machine that runs them, at their first use.

The sources beside this file use no header of PyTorch, so that g++ or clang++ needs seconds; they are called through
ctypes. The compiled library is kept for this user and machine, under a name made from the sources, the compiler and its
options. Without a compiler, callers use a version in PyTorch's operators.
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

from puna.core.console import warn

_HERE = Path(__file__).parent
_OPTIONS = ("-O3", "-std=c++20", "-fPIC", "-shared", "-fopenmp")
_INSTRUCTIONS = {"AVX512": ("-march=x86-64-v4",), "AVX2": ("-march=x86-64-v3",)}
"""Options for each instruction set that PyTorch itself uses, so that ATEN_CPU_CAPABILITY restricts both."""


@cache
def library() -> ctypes.CDLL | None:
    """The compiled operators; None where they cannot be compiled, with one warning."""
    compiler = find_compiler()
    if compiler is None:
        warn("no C++ compiler was found ($CXX, g++, clang++): training in float32 on this CPU is slower without one")
        return None
    options = (*_OPTIONS, *_INSTRUCTIONS.get(torch.backends.cpu.get_cpu_capability(), ()))
    try:
        return ctypes.CDLL(str(_built(compiler, options)))
    except (OSError, subprocess.SubprocessError) as error:
        output = getattr(error, "stderr", None) or str(error)
        warn(f"{compiler} could not compile Puna's operators for CPUs, training will be slower: {output[-500:]}")
        return None


def compiled() -> ctypes.CDLL:
    """The compiled operators, for callers that know that they exist."""
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
            made.replace(built)  # complete or missing, even if several processes compile
    return built
