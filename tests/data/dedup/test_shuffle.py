import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from puna.core.errors import DataError, StorageError
from puna.data.dedup.shuffle import BUFFER_BYTES, PartitionWriter, read_partition

INDEX = '{"schema": 1, "dtype": "", "rows": %s, "crc32": %s}'
WRONG = [
    ('["x"]', "[1]"), ("[1]", "7"), ("[1]", "[]"), ("[[1]]", "[[1]]"), ("[1]", "[-1]"), ("[-1]", "[1]"),
    ("[1e999]", "[1]"), ("[1]", "[4294967296]"),
]  # fmt: skip
ROW = np.dtype([("key", "<u8"), ("number", "<u4")])


def some_rows(count: int, seed: int = 0) -> np.ndarray:
    rows = np.empty(count, dtype=ROW)
    rows["key"] = np.random.default_rng(seed).integers(0, 1 << 63, count, dtype=np.uint64)
    rows["number"] = np.arange(count)
    return rows


def write(directory: Path, rows: np.ndarray, places: np.ndarray, partitions: int = 5, **more: Any) -> None:
    with PartitionWriter(directory, rows.dtype, partitions, "band", **more) as writer:
        writer.add(rows, places)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    rows = some_rows(100)
    write(tmp_path / "task", rows, rows["number"] % 5)
    return tmp_path / "task"


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    tasks=st.lists(st.lists(st.lists(st.integers(0, 6), max_size=9), max_size=4), max_size=3),
    buffer_rows=st.integers(1, 12),
)
def test_a_partition_has_its_rows_of_all_tasks_in_their_order(tasks, buffer_rows, tmp_path_factory):
    root, directories, expected = tmp_path_factory.mktemp("shuffle"), [], [[] for _ in range(7)]
    count = 0
    for number, adds in enumerate(tasks):
        directories.append(root / str(number))
        with PartitionWriter(directories[-1], ROW, 7, "x", buffer_bytes=buffer_rows * ROW.itemsize) as writer:
            for places in adds:
                rows = some_rows(len(places), seed=count)
                rows["number"] += count
                count += len(places)
                writer.add(rows, np.array(places, dtype=np.int64))
                for place, row in zip(places, rows.tolist(), strict=True):
                    expected[place].append(row)
    for partition in range(7):
        assert read_partition(directories, "x", partition, ROW).tolist() == expected[partition]


def test_the_files_do_not_depend_on_how_rows_were_added_and_held(tmp_path: Path):
    rows = some_rows(1000)
    places = (rows["key"] % 5).astype(np.int64)
    write(tmp_path / "whole", rows, places)
    with PartitionWriter(tmp_path / "bits", ROW, 5, "band", buffer_bytes=100) as writer:
        for start in range(0, 1000, 37):
            writer.add(rows[start : start + 37], places[start : start + 37])
    for name in ("band.rows", "band.index.json"):
        assert (tmp_path / "bits" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "bits").iterdir()) == ["band.index.json", "band.rows"]


def test_rows_may_be_plain_numbers_and_none(tmp_path: Path):
    kind = np.dtype("<u8")
    write(tmp_path / "a", np.array([7, 8, 9], dtype=kind), np.array([1, 0, 1]), partitions=2)
    write(tmp_path / "b", np.array([], dtype=kind), np.array([], dtype=np.int64), partitions=2)
    assert read_partition([tmp_path / "a", tmp_path / "b"], "band", 1, kind).tolist() == [7, 9]
    assert read_partition([], "band", 1, kind).dtype == kind


def test_a_failure_leaves_no_file(tmp_path: Path):
    rows = some_rows(50)
    writer = PartitionWriter(tmp_path, ROW, 5, "band", buffer_bytes=100)

    def fail() -> None:
        with writer:
            writer.add(rows, rows["number"] % 5)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_what_is_closed_takes_no_rows_and_is_written_once(tmp_path: Path):
    rows = some_rows(9)
    with PartitionWriter(tmp_path, ROW, 5, "band") as writer:
        writer.add(rows, rows["number"] % 5)
        writer.close()
        with pytest.raises(ValueError, match="written already"):
            writer.add(rows, rows["number"] % 5)
    assert len(read_partition([tmp_path], "band", 0, ROW)) == 2


@pytest.mark.parametrize("cut", [1, 12, 1199])
def test_a_short_file_is_refused_by_name(written: Path, cut: int):
    path = written / "band.rows"
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(DataError, match=r"band\.rows: has [\d,]+ bytes, expected 1,200"):
        read_partition([written], "band", 0, ROW)


@pytest.mark.parametrize("byte", [0, 300, 1199])
def test_a_changed_byte_is_found_by_who_reads_it(written: Path, byte: int):
    path = written / "band.rows"
    content = bytearray(path.read_bytes())
    content[byte] ^= 1
    path.write_bytes(content)
    for partition in {*range(5)} - {byte // 240}:
        assert len(read_partition([written], "band", partition, ROW)) == 20
    with pytest.raises(DataError, match=r"band\.rows: bytes [\d,]+ to [\d,]+ are damaged"):
        read_partition([written], "band", byte // 240, ROW)


@pytest.mark.parametrize("name", ["band.rows", "band.index.json"])
def test_a_missing_file_is_refused_by_name(written: Path, name: str):
    (written / name).unlink()
    with pytest.raises(DataError, match=f"{name}: cannot be read"):
        read_partition([written], "band", 0, ROW)


@pytest.mark.parametrize("content", ["", "[]", "{}", "[" * 5000, *map(INDEX.__mod__, WRONG)])
def test_a_damaged_index_is_refused_by_name(written: Path, content: str):
    (written / "band.index.json").write_text(content)
    with pytest.raises(DataError, match=r"band\.index\.json: is not an index of rows"):
        read_partition([written], "band", 0, ROW)


def test_rows_of_another_kind_and_another_format_are_refused(written: Path):
    with pytest.raises(DataError, match=r"expected format 1 of \[\('', '<u8'\)\]"):
        read_partition([written], "band", 0, np.dtype("<u8"))
    path = written / "band.index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 2}))
    with pytest.raises(DataError, match="is format 2"):
        read_partition([written], "band", 0, ROW)


def test_a_build_with_other_partitions_is_refused(written: Path):
    with pytest.raises(DataError, match="has 5 partitions, number 5 is asked for"):
        read_partition([written], "band", 5, ROW)


@pytest.mark.parametrize("place", [-1, 5])
def test_a_partition_that_is_not_there_is_a_defect(tmp_path: Path, place: int):
    with pytest.raises(ValueError, match="a partition beyond 0 to 4"):
        write(tmp_path, some_rows(2), np.array([0, place]))


def test_a_full_disk_is_said_and_leaves_no_file(tmp_path: Path, full_disk: Callable):
    rows = some_rows(20_000)
    with full_disk(100_000), pytest.raises(StorageError, match=r"band\.rows"):
        write(tmp_path, rows, rows["number"] % 5)
    assert list(tmp_path.iterdir()) == []


def test_a_writer_holds_no_more_than_it_says(tmp_path: Path, peak_bytes: Callable):
    rows = some_rows(400_000)
    size = 1 << 20

    def spill() -> None:
        write(tmp_path, rows, rows["number"] % 5, buffer_bytes=size)

    assert rows.nbytes > 4 * size
    # The blocks in which runs are copied, the index and the interpreter's own.
    assert peak_bytes(spill) < 3 * size + 18 * size // ROW.itemsize + len(rows) * 4 + (2 << 20)
    assert BUFFER_BYTES <= 64 << 20
