"""A decoder's step on a CPU in C++: linear layers over packed weights, and attention over pages.

`open_kernels` compiles decoder.cpp and packing.cpp for the machine's instruction set. Both sets that there are give the
same bits.
"""

import ctypes
from enum import StrEnum
from functools import cache
from pathlib import Path

import torch

from puna.ops.cpu.builder import BuildError, build

_OPTIONS = ("-O3", "-std=c++20", "-fPIC", "-shared", "-fopenmp", "-ffp-contract=off")


class InstructionSet(StrEnum):
    """What the operators can be compiled for; the value is for people."""

    AVX512 = "AVX-512 VNNI"
    AVX2 = "AVX2"


MACHINE = {
    InstructionSet.AVX512: ("-march=x86-64-v4", "-mavx512vnni"),
    InstructionSet.AVX2: ("-march=x86-64-v3",),
}


def instruction_set() -> InstructionSet | None:
    """The best that this machine has and ATEN_CPU_CAPABILITY allows; None if there is not even AVX2."""
    capability = torch.backends.cpu.get_cpu_capability()
    if capability == "AVX512" and torch.cpu._is_vnni_supported():  # the public function is newer than PyTorch 2.11
        return InstructionSet.AVX512
    return InstructionSet.AVX2 if capability in ("AVX512", "AVX2") else None


@cache
def open_kernels(instructions: InstructionSet | None = None) -> ctypes.CDLL:
    """The compiled operators, which `Program` and `pack` call.

    Args:
        instructions: None takes the machine's best.

    Raises:
        BuildError: They cannot be compiled, or this processor cannot run them.
    """
    instructions = instructions or instruction_set()
    if instructions is None:
        raise BuildError("this processor has neither AVX2 nor AVX-512")
    library = build(Path(__file__).parent, (*_OPTIONS, *MACHINE[instructions]))
    number, pointer = ctypes.c_int64, ctypes.c_void_p
    library.puna_decoder_run.restype = library.puna_decoder_pack.restype = number
    library.puna_decoder_run.argtypes = pointer, number, pointer
    library.puna_decoder_pack.argtypes = number, pointer, number, number, number, number, number, pointer
    return library
