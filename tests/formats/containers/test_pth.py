import contextlib
import hashlib
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from puna.core.errors import FormatError
from puna.formats.containers.pth import PthTensor, PthWriter, dtype_name, load_pth, read_pth


def tensors() -> dict[str, Tensor]:
    """Odd sizes, all dtypes, a view that is not contiguous."""
    generator = torch.Generator().manual_seed(0)
    return {
        "a.weight": torch.randn(7, 5, generator=generator),
        "b.weight": torch.randn(3, generator=generator).bfloat16(),
        "c.weight": torch.randn(4, 6, generator=generator).half().T,
        "d.weight": torch.randn(1, generator=generator),
    }


def written(path: Path) -> PthWriter:
    with PthWriter(path, md5=True) as writer:
        for name, tensor in tensors().items():
            writer.add(name, tensor)
    return writer


def same(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.contiguous(), b.contiguous())


@pytest.mark.parametrize("mmap", [False, True])
def test_pytorch_loads_what_was_written_bit_for_bit(tmp_path: Path, mmap: bool) -> None:
    written(tmp_path / "x.pth")
    loaded = torch.load(tmp_path / "x.pth", weights_only=True, mmap=mmap)
    assert list(loaded) == list(tensors())
    assert all(same(loaded[name], tensor) for name, tensor in tensors().items())


def test_the_archive_is_sound_and_its_records_are_aligned_and_not_compressed(tmp_path: Path) -> None:
    written(tmp_path / "x.pth")
    content = (tmp_path / "x.pth").read_bytes()
    with zipfile.ZipFile(tmp_path / "x.pth") as archive:
        assert archive.testzip() is None
        for info in archive.infolist():
            lengths = content[info.header_offset + 26 : info.header_offset + 30]
            begin = (
                info.header_offset + 30 + int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
            )
            assert begin % 64 == 0
            assert content[begin : begin + info.file_size] == archive.read(info)
        assert {"x/data.pkl", "x/byteorder", "x/version", "x/data/0"} <= set(archive.namelist())


def test_the_md5_is_the_files_and_the_same_tensors_make_the_same_bytes(tmp_path: Path) -> None:
    first = written(tmp_path / "x.pth")
    content = (tmp_path / "x.pth").read_bytes()
    assert first.md5 == hashlib.md5(content).hexdigest()
    written(tmp_path / "x.pth")
    assert (tmp_path / "x.pth").read_bytes() == content


@pytest.mark.parametrize("mmap", [False, True])
def test_a_tensor_with_two_names_is_stored_once_and_shared_when_loaded(tmp_path: Path, mmap: bool) -> None:
    with PthWriter(tmp_path / "x.pth") as writer:
        writer.add("a", torch.randn(100, 10))
        writer.add_again("b", "a")
    assert (tmp_path / "x.pth").stat().st_size < 2 * 4000
    loaded = torch.load(tmp_path / "x.pth", weights_only=True, mmap=mmap)
    assert loaded["a"].data_ptr() == loaded["b"].data_ptr()


def test_an_error_while_writing_closes_the_file_and_comes_through(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mine"), PthWriter(tmp_path / "x.pth"):
        raise ValueError("mine")
    with pytest.raises(FormatError):
        read_pth(tmp_path / "x.pth")


def test_a_full_disk_is_the_operating_systems_error() -> None:
    with pytest.raises(OSError, match="No space left"), PthWriter(Path("/dev/full")) as writer:
        writer.add("a", torch.ones(3))


@pytest.mark.parametrize("zipped", [True, False])
def test_files_of_pytorch_are_read_the_old_ones_too(tmp_path: Path, zipped: bool) -> None:
    torch.save(tensors(), tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    read = read_pth(tmp_path / "x.pth")
    assert list(read) == list(tensors())
    for name, tensor in tensors().items():
        assert (read[name].dtype, read[name].shape) == (tensor.dtype, tensor.shape)
        assert same(read[name].load(), tensor)
    assert load_pth(tmp_path / "x.pth") == {name: read[name].identity for name in tensors()}


@pytest.mark.parametrize("zipped", [True, False])
def test_two_names_of_the_same_bytes_have_one_place(tmp_path: Path, zipped: bool) -> None:
    shared = torch.randn(4, 6)
    content = {"a": shared, "b": shared, "c": shared.clone(), "d": shared.T, "e": torch.nn.Parameter(shared)}
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    read = read_pth(tmp_path / "x.pth")
    assert [read["a"].identity == read[name].identity for name in "abcde"] == [True, True, False, False, True]


class Runs:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_refused_by_name_and_not_run(tmp_path: Path, zipped: bool) -> None:
    content = {"a": torch.ones(2), "b": Runs(tmp_path / "ran")}
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    for read in (load_pth, read_pth):
        with pytest.raises(
            FormatError, match=r"x.pth: wants '\S+', and weights are tensors only; nothing of it was run"
        ):
            read(tmp_path / "x.pth")
    assert not (tmp_path / "ran").exists()


def test_a_bare_pickle_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(pickle.dumps(Runs(tmp_path / "ran")))
    for read in (load_pth, read_pth):
        with pytest.raises(FormatError):
            read(tmp_path / "x.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([torch.ones(2)], "holds no dictionary of tensors, but list"),
        ({}, "holds no dictionary of tensors, but dict"),
        ({"model": {"a": torch.ones(2)}}, "'model' is not a named tensor, but dict"),
        ({3: torch.ones(2)}, "'3' is not a named tensor"),
        ({"a": 1}, "'a' is not a named tensor, but int"),
        ({"a\n": torch.ones(2)}, r"'a.n' is not a named tensor"),
        (
            {"a": torch.ones(1).expand(1 << 40)},
            "or a damaged one: a tensor is larger than its record",
        ),
        ({"a": torch.ones(2, device="meta")}, "wants 'torch._utils._rebuild_meta"),
        ({"a": torch.ones(2, 2).to_sparse()}, "wants 'torch._utils._rebuild_sparse"),
        ({"a": torch.ones(4).to(torch.float8_e4m3fn)}, "wants 'torch._utils._rebuild_tensor_v3|wants 'torch.storage"),
        ({"a": {("k", 1): torch.ones(2)}}, "a dictionary has a key that is tuple, expected text"),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_what_is_not_a_flat_dictionary_of_tensors_is_refused(
    tmp_path: Path, content: object, sentence: str, zipped: bool
) -> None:
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(FormatError, match=sentence):
        read_pth(tmp_path / "x.pth")


def test_a_pickle_cannot_replace_the_methods_of_its_dictionary(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        archive.writestr("x/data.pkl", b"\x80\x02ccollections\nOrderedDict\n)R(U\x01aK\x01u}(U\x05itemsK\x05ub.")
    with pytest.raises(FormatError, match="'a' is not a named tensor, but int"):
        read_pth(tmp_path / "x.pth")


def test_a_missing_file_and_a_directory_are_one_sentence(tmp_path: Path) -> None:
    for path in (tmp_path / "none.pth", tmp_path):
        for read in (load_pth, read_pth):
            with pytest.raises(FormatError, match=r"cannot be read: No such file|is a directory, not a regular file"):
                read(path)


def test_a_dtype_that_no_weight_has_is_refused() -> None:
    with pytest.raises(FormatError, match="a is int8, expected float32, float16, bfloat16"):
        dtype_name(Path("x.pth"), "a", PthTensor(dtype=torch.int8, shape=(2,), identity=0, load=lambda: torch.ones(2)))


@pytest.mark.parametrize("zipped", [True, False])
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_damage_is_a_format_error_or_another_dictionary_of_tensors(
    tmp_path: Path, zipped: bool, data: st.DataObject
) -> None:
    path = tmp_path / "x.pth"
    if zipped:
        written(path)
    else:
        torch.save(tensors(), path, _use_new_zipfile_serialization=False)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content[data.draw(st.integers(0, len(content) - 1)) :]
        assert len(content) < len(path.read_bytes())
    path.write_bytes(content)
    with contextlib.suppress(FormatError):
        for tensor in read_pth(path).values():
            tensor.load().clone()
