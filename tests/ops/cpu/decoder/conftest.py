"""The operators for each instruction set that this processor has."""

import ctypes

import pytest
from instruction_sets import has

from puna.ops.cpu.builder import find_compiler
from puna.ops.cpu.decoder import InstructionSet, open_kernels


@pytest.fixture(params=list(InstructionSet), ids=lambda instructions: instructions.name)
def library(request: pytest.FixtureRequest) -> ctypes.CDLL:
    """All that is tested with this runs for both instruction sets, AVX2 on a machine with AVX-512 too."""
    if find_compiler() is None:
        pytest.skip("no C++ compiler")
    if not has(request.param):
        pytest.skip(f"this processor lacks {request.param}")
    return open_kernels(request.param)
