from pathlib import Path

import pytest
import torch

from puna.core.errors import FormatError
from puna.formats.containers.sharded_pth import WEIGHTS, ShardedPth


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_of_every_form_are_read_as_pytorch_reads_them(tmp_path: Path, zipped: bool) -> None:
    shared = torch.randn(6, 4)
    content = {
        "float": shared, "half": torch.randn(3).half(), "brain": torch.randn(2, 2).bfloat16(), "tied": shared,
        "rows": shared[2:4], "columns": shared[:, 1:3], "turned": shared.T, "steps": torch.arange(10.0)[::3],
        "whole": torch.arange(3),
    }  # fmt: skip
    torch.save(content, tmp_path / WEIGHTS, _use_new_zipfile_serialization=zipped)
    for path in (tmp_path, tmp_path / WEIGHTS):
        read = ShardedPth(path)
        assert read.names == list(content)
        for name, tensor in content.items():
            assert torch.equal(read.tensor(name), tensor)
            assert (read.shape(name), read.nbytes(name)) == (tuple(tensor.shape), tensor.nbytes)
            assert read.dtype(name) == str(tensor.dtype).removeprefix("torch.")
            assert read.file(name) == tmp_path / WEIGHTS


def test_code_is_refused_and_not_run(tmp_path: Path) -> None:
    (tmp_path / WEIGHTS).write_bytes(b"\x80\x02cposix\nsystem\n(X\x04\0\0\0exittR.")
    with pytest.raises(FormatError, match=r"wants 'posix.system', and weights are tensors only; nothing of it was run"):
        ShardedPth(tmp_path)
