"""Memory that tensors gave back stays with the process."""

import subprocess
import sys
from pathlib import Path

import pytest

_STATM = Path("/proc/self/statm")
_PROGRAM = """
import sys, torch
from pathlib import Path
from puna.parallel.host_memory import keep_freed_memory

def resident_pages():
    return int(Path("/proc/self/statm").read_text().split()[1])

if sys.argv[1] == "kept":
    keep_freed_memory()
x = torch.ones(16 * 2**20)
before = resident_pages()
del x
print(before - resident_pages())
"""


def _pages_returned(how: str) -> int:
    """Pages of 4 KiB that go back to the system when a tensor of 64 MiB goes."""
    result = subprocess.run([sys.executable, "-c", _PROGRAM, how], capture_output=True, text=True, check=True)
    return int(result.stdout)


@pytest.mark.skipif(not _STATM.exists(), reason="not Linux")
def test_memory_that_a_tensor_gave_back_stays():
    assert _pages_returned("kept") < 64
    assert _pages_returned("as the library is set") > 16_000
