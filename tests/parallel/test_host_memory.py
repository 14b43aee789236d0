"""Memory that tensors gave back stays with the process."""

import ctypes
import subprocess
import sys

import pytest

_PROGRAM = """
import resource, sys, torch
from puna.parallel.host_memory import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
faults = []
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    x = torch.ones(16 * 2**20)
    del x
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(faults[-1])
"""


def _faults(how: str) -> int:
    """Page faults of the third time that a tensor of 64 MiB is made."""
    result = subprocess.run([sys.executable, "-c", _PROGRAM, how], capture_output=True, text=True, check=True)
    return int(result.stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="not the GNU C library")
def test_a_tensor_takes_the_memory_that_another_gave_back():
    assert _faults("kept") < 64 < _faults("as the library is set")
