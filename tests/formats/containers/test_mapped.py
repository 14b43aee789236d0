import gc
import os
from pathlib import Path

import pytest
import torch

from puna.core.errors import FormatError
from puna.formats.containers import mapped as module
from puna.formats.containers.mapped import mapped


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "x").write_bytes(bytes(range(256)) * 64)
    return tmp_path / "x"


@pytest.mark.parametrize("begin", [0, 4, 3, 4096, 5001, 16383])
def test_numbers_from_any_byte_on_are_the_files(file: Path, begin: int) -> None:
    assert mapped(file, begin, 1, torch.uint8).tolist() == [begin % 256]
    if begin < 16000:
        expected = torch.frombuffer(bytearray(file.read_bytes()[begin : begin + 80]), dtype=torch.int32)
        assert torch.equal(mapped(file, begin, 20, torch.int32), expected)


def test_writing_never_reaches_the_file(file: Path) -> None:
    before = file.read_bytes()
    mapped(file, 0, 100, torch.float32).zero_()
    assert file.read_bytes() == before


def test_many_maps_keep_no_file_open_and_are_let_go(file: Path) -> None:
    gc.collect()  # files that earlier tests left to the collector are closed now, not in the middle
    open_files, maps = len(os.listdir("/proc/self/fd")), Path("/proc/self/maps").read_text().count(str(file))
    tensors = [mapped(file, 0, 8, torch.float32) for _ in range(2000)]
    assert len(os.listdir("/proc/self/fd")) == open_files
    view = tensors[0][2:4]
    del tensors
    assert view.tolist() == mapped(file, 8, 2, torch.float32).tolist()
    del view
    assert Path("/proc/self/maps").read_text().count(str(file)) == maps


def test_what_the_system_cannot_map_is_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = mapped(file, 8, 5, torch.float32)

    class Refuses:
        @staticmethod
        def mmap(*_: object) -> int:
            return 2**64 - 1

    monkeypatch.setattr(module, "_libc", Refuses)
    assert torch.equal(mapped(file, 8, 5, torch.float32), expected)


def test_no_numbers_are_not_a_map(file: Path) -> None:
    assert mapped(file, 10**9, 0, torch.float16).shape == (0,)


def test_a_file_that_has_become_shorter_or_is_gone_is_one_sentence(file: Path) -> None:
    with pytest.raises(FormatError, match="x: has become shorter since it was opened"):
        mapped(file, 0, 5000, torch.float32)
    file.unlink()
    with pytest.raises(FormatError, match="x: cannot be read: No such file"):
        mapped(file, 0, 1, torch.float32)
