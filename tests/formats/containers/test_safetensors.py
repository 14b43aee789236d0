import gc
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from growth import bytes_touched
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from puna.core.errors import FormatError
from puna.formats.containers.safetensors import INDEX, WEIGHTS, ShardedSafetensors

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def some_tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "float": torch.randn(7, 5, generator=generator),
        "half": torch.randn(3, generator=generator).half(),
        "brain": torch.randn(300, 201, generator=generator).bfloat16(),
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 4),
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A small file that the library wrote."""
    save_file(some_tensors(), tmp_path / "x.safetensors", metadata={"format": "pt"})
    return tmp_path / "x.safetensors"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A model in two files."""
    tensors = some_tensors()
    parts = [["float", "half"], ["brain", "scalar", "empty"]]
    weight_map = {}
    for number, names in enumerate(parts, 1):
        name = f"model-{number:05d}-of-00002.safetensors"
        save_file({key: tensors[key] for key in names}, tmp_path / name)
        weight_map |= dict.fromkeys(names, name)
    (tmp_path / INDEX).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    return tmp_path


def raw(path: Path, header: Any, data: bytes = b"") -> Path:
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(content).to_bytes(8, "little") + content + data)
    return path


def one(**changes: Any) -> dict[str, Any]:
    return {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changes}


def test_tensors_are_those_that_the_library_reads(file: Path, directory: Path) -> None:
    whole = load_file(file)
    for opened in (ShardedSafetensors(file), ShardedSafetensors(directory)):
        assert sorted(opened.names) == sorted(whole)
        for name, expected in whole.items():
            tensor = opened.tensor(name)
            assert tensor.dtype == expected.dtype
            assert torch.equal(tensor, expected)
            assert opened.shape(name) == expected.shape
            assert opened.nbytes(name) == expected.nbytes
            assert opened.dtype(name) == str(expected.dtype).removeprefix("torch.")


def test_directory_with_one_file_needs_no_index(file: Path) -> None:
    model = file.rename(file.with_name(WEIGHTS))
    assert ShardedSafetensors(model.parent).names == ShardedSafetensors(model).names
    assert ShardedSafetensors(model.parent).file("half") == model


def test_tensors_that_are_not_aligned_are_read_right(tmp_path: Path) -> None:
    values = torch.tensor([1.5, -2.0])
    header = json.dumps(one()).encode()
    for padding in range(8):
        path = raw(tmp_path / "x.safetensors", header + b" " * padding, values.numpy().tobytes())
        tensor = ShardedSafetensors(path).tensor("a")
        assert torch.equal(tensor, values)
        assert tensor.data_ptr() % 4 == 0


@LINUX
def test_tensor_is_a_view_of_the_file_that_goes_with_its_last_user(file: Path) -> None:
    def mapped() -> int:
        return Path("/proc/self/maps").read_text().count(str(file))

    descriptors = len(os.listdir("/proc/self/fd"))
    tensor = ShardedSafetensors(file).tensor("brain")
    bits = tensor.view(torch.int16)[1:]
    expected = some_tensors()["brain"].view(torch.int16)[1:]
    del tensor
    gc.collect()
    assert mapped() == 1
    assert len(os.listdir("/proc/self/fd")) == descriptors  # else a large model runs out of them
    assert torch.equal(bits, expected)
    del bits
    gc.collect()
    assert mapped() == 0


def test_writing_to_a_tensor_never_reaches_the_file(file: Path) -> None:
    before = file.read_bytes()
    opened = ShardedSafetensors(file)
    opened.tensor("brain").zero_()
    assert file.read_bytes() == before
    assert torch.equal(opened.tensor("brain"), load_file(file)["brain"])


def test_65b_in_81_files_opens_in_less_than_a_second(tmp_path: Path) -> None:
    dim, ffn, vocabulary, layers = 8192, 22016, 32000, 80
    block = {"q": (dim, dim), "k": (dim, dim), "v": (dim, dim), "o": (dim, dim), "gate": (ffn, dim), "up": (ffn, dim),
             "down": (dim, ffn), "n1": (dim,), "n2": (dim,)}  # fmt: skip
    parts = [{f"{layer}.{name}": shape for name, shape in block.items()} for layer in range(layers)]
    parts.append({"embedding": (vocabulary, dim), "head": (vocabulary, dim), "norm": (dim,)})
    weight_map = {}
    for number, part in enumerate(parts):
        header: dict[str, Any] = {}
        end = 0
        for name, shape in part.items():
            start, end = end, end + 2 * torch.Size(shape).numel()
            header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
        path = raw(tmp_path / f"{number}.safetensors", header)
        os.truncate(path, path.stat().st_size + end)  # a hole takes no room on the disk
        weight_map |= dict.fromkeys(part, path.name)
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": weight_map}))
    found = []
    touched = bytes_touched(lambda: found.append(ShardedSafetensors(tmp_path)))
    opened = found[0]
    assert sum(opened.nbytes(name) for name in opened.names) == 2 * 65_285_660_672
    assert opened.tensor("79.down").shape == (dim, ffn)
    assert touched < 2**26


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "promise a header of 0 bytes, and the file has 0"),
        (b"\1\2\3", "not a safetensors file, or a truncated one"),
        (b"\xff" * 8, "promise a header of 18,446,744,073,709,551,615 bytes"),
        (b"\x08" + b"\0" * 7 + b"{}", "promise a header of 8 bytes, and the file has 10"),
        (b"PK\3\4" + b"x" * 200, "not a safetensors file"),
    ],
)
def test_what_is_not_a_safetensors_file_is_said_to_be_none(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=said):
        ShardedSafetensors(path)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b"[1]", "the header: is JSON, but not an object"),
        (b"nonsense", "the header: is not JSON"),
        (b'{"a": {"dtype": "F32", "dtype": "F16"}}', "the header: names 'dtype' twice"),
        ({"a": 3}, "entry of 'a' has no dtype, shape and data_offsets that make sense"),
        (one(shape=[-2]), "entry of 'a' has no"),
        (one(shape=[2.0]), "entry of 'a' has no"),
        (one(shape=[True, 2]), "entry of 'a' has no"),
        (one(data_offsets=[0]), "entry of 'a' has no"),
        (one(data_offsets=[0, "8"]), "entry of 'a' has no"),
        (one(dtype="Q9"), "a is of the unknown dtype 'Q9'"),
        (one(shape=[3]), r"a, F32 \[3\], should take 12 bytes, found 8"),
        (one(shape=[2**62, 2**62]), "should take"),
        (one(shape=[2**63]), "entry of 'a' has no"),
        (one(shape=[2**62] * 65), "entry of 'a' has no"),
        (one(data_offsets=[4, 12]), "a begins at byte 74, but what is before it ends at 70"),
        (one() | {"b": one()["a"]}, "b begins at byte"),
        (one() | {"b": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}}, "is truncated: its header makes it"),
        ({"\ud800": one()["a"]}, r"has half of a surrogate pair, '\\ud800'"),
        ({}, "is longer than it should be"),
        (one() | {"__metadata__": {"format": 3}}, "__metadata__ is not a table of texts"),
    ],
)
def test_header_that_makes_no_sense_is_one_sentence(tmp_path: Path, header: Any, said: str) -> None:
    path = raw(tmp_path / "x.safetensors", header, bytes(8))
    with pytest.raises(FormatError, match=said) as caught:
        ShardedSafetensors(path)
    assert caught.value.message.startswith(str(path))
    assert "\n" not in caught.value.message


def test_header_longer_than_the_library_reads_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes((100_000_001).to_bytes(8, "little"))
    os.truncate(path, 2**30)
    with pytest.raises(FormatError, match="promise a header of 100,000,001 bytes"):
        ShardedSafetensors(path)


def test_other_dtypes_are_named_and_not_read(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(4, dtype=torch.int8), "b": torch.zeros(2)}, tmp_path / "x.safetensors")
    opened = ShardedSafetensors(tmp_path / "x.safetensors")
    assert (opened.dtype("a"), opened.nbytes("a"), opened.dtype("b")) == ("I8", 4, "float32")
    with pytest.raises(FormatError, match=r"x.safetensors: a is I8, expected F32, BF16 or F16"):
        opened.tensor("a")


def test_file_that_became_shorter_is_not_mapped(file: Path) -> None:
    opened = ShardedSafetensors(file)
    os.truncate(file, 300)
    with pytest.raises(FormatError, match="has become shorter since it was opened"):
        opened.tensor("float")
    file.unlink()
    with pytest.raises(FormatError, match="cannot be read: No such file"):
        opened.tensor("float")


def edit_index(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def apply(directory: Path) -> None:
        index = json.loads((directory / INDEX).read_text())
        (directory / INDEX).write_text(json.dumps(change(index)))

    return apply


def point(name: str, file: Any) -> Callable[[Path], None]:
    return edit_index(lambda index: {"weight_map": index["weight_map"] | {name: file}})


SECOND = "model-00002-of-00002.safetensors"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda path: (path / SECOND).unlink(), f"{SECOND}: is missing; {INDEX} names 2 files"),
        (point("new", SECOND), f"{SECOND}: lacks new, which .*{INDEX} says it has"),
        (point("half", SECOND), f"{SECOND}: lacks half"),
        (
            point("half", "../x.safetensors"),
            "half is said to be in '../x.safetensors', which is not the name of a safetensors file here",
        ),
        (point("half", "/etc/passwd"), "not the name of a safetensors file here"),
        (point("half", ".."), "not the name of a safetensors file here"),
        (point("half", ""), "not the name of a safetensors file here"),
        (point("half", 3), "half is said to be in 3"),
        (point("half", "pytorch_model.bin"), "not the name of a safetensors file here"),
        (point("half", "\ud800.safetensors"), "has half of a surrogate pair"),
        (point("ha\nlf", SECOND), r"names a tensor 'ha\\nlf', which no model does"),
        (point("half", "a\0b"), "not the name of a safetensors file here"),
        (edit_index(lambda index: {}), "has no weight_map"),
        (edit_index(lambda index: {"weight_map": []}), "has no weight_map"),
        (edit_index(lambda index: 3), "is JSON, but not an object"),
        (lambda path: save_file({"a": torch.zeros(1)}, path / WEIGHTS), "has both model.safetensors and an index"),
    ],
)  # fmt: skip
def test_index_that_does_not_fit_its_files_is_one_sentence(
    directory: Path, change: Callable[[Path], None], said: str
) -> None:
    change(directory)
    with pytest.raises(FormatError, match=said) as caught:
        ShardedSafetensors(directory)
    assert "\n" not in caught.value.message


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"model.safetensors: cannot be read: No such file"):
        ShardedSafetensors(tmp_path)


SMALL = {"weight": torch.arange(6.0).view(2, 3), "other": torch.arange(3).half()}


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data())
def test_no_damage_is_taken_for_a_file_that_the_library_would_refuse(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "x.safetensors"
    save_file(SMALL, path, metadata={"format": "pt"})
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    try:
        opened = ShardedSafetensors(path)
        tensors = {name: opened.tensor(name) for name in opened.names if opened.dtype(name).startswith("float")}
    except FormatError:
        return
    try:
        with safe_open(path, framework="pt") as theirs:
            for name, tensor in tensors.items():
                assert torch.equal(theirs.get_tensor(name).view(torch.uint8), tensor.view(torch.uint8))
    except SafetensorError as error:
        pytest.fail(f"the library refuses it: {error}")
