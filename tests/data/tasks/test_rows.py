from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from puna.core.errors import DataError
from puna.data.tasks.counts import Counts
from puna.data.tasks.rows import HASH, is_among, mapped, partition_of, read_rows, row_parts, write_rows
from puna.data.tasks.task import Progress, Task


@dataclass(frozen=True, eq=False)
class Done(Task):
    """Has what lies in its directory."""

    name: str
    stage = ""
    made_from: Any = None
    input_bytes = 0

    @property
    def directory(self) -> Path:
        return self.work / self.name

    def work_on(self, progress: Progress) -> Counts:
        return {}


def test_every_row_is_in_the_partition_of_its_key_and_nowhere_else(tmp_path: Path):
    random = np.random.default_rng(0)
    kind = np.dtype([("key", "<u8"), ("number", "<u8")])
    parts = {}
    for task in range(2):
        for chunk in range(3):
            rows = np.empty(100, dtype=kind)
            rows["key"], rows["number"] = random.integers(0, 50, 100), np.arange(100)
            parts[task, chunk] = rows
            names = write_rows(tmp_path / str(task), f"near-{chunk:05d}", [rows[:40], rows[40:]], 7, kind)
            assert all((tmp_path / str(task) / name).is_file() for name in names)
    done = [Done(tmp_path, str(task)) for task in range(2)]
    for task in done:
        task.run()
    everything = np.concatenate(list(parts.values()))
    found = [read_rows(done, "near", partition, kind) for partition in range(7)]
    assert sum(map(len, found)) == 600
    for partition, rows in enumerate(found):
        expected = everything[partition_of(everything["key"].copy(), 7) == partition]
        assert np.array_equal(np.sort(rows, order=["key", "number"]), np.sort(expected, order=["key", "number"]))
    assert len(list(row_parts(done[:1], "near", 0, kind))) == 3


def test_nothing_written_is_nothing_read(tmp_path: Path):
    write_rows(tmp_path / "0", "lines-00000", [], 3, HASH)
    (task := Done(tmp_path, "0")).run()
    assert len(read_rows([task], "lines", 1, HASH)) == 0


def test_rows_that_a_task_has_written_and_that_are_gone_are_missed(tmp_path: Path):
    for chunk in range(2):
        write_rows(tmp_path / "0", f"lines-{chunk:05d}", [np.arange(9, dtype=np.uint64)], 3, HASH)
    (task := Done(tmp_path, "0")).run()
    assert len(read_rows([task], "lines", 1, HASH)) > 0
    (task.directory / "lines-00001.rows").unlink()
    (task.directory / "lines-00001.index.json").unlink()
    with pytest.raises(DataError, match=r"lines-00001\.index\.json: cannot be read"):
        read_rows([task], "lines", 1, HASH)


def test_neighbouring_numbers_are_spread_evenly():
    counts = np.bincount(partition_of(np.arange(100_000, dtype=np.uint64) << np.uint64(32), 16), minlength=16)
    assert counts.min() > 5800
    assert counts.max() < 6700


def test_partitions_are_those_of_every_version():
    assert partition_of(np.array([0, 1, 2, 2**63], dtype=np.uint64), 1000).tolist() == [0, 604, 447, 707]


def test_values_are_looked_for_in_sorted_ones(tmp_path: Path):
    values = np.array([5, 0, 9, 2**64 - 1, 5], dtype=np.uint64)
    (tmp_path / "some").write_bytes(np.array([0, 5, 7], dtype=HASH).tobytes())
    (tmp_path / "none").write_bytes(b"")
    assert is_among(values, mapped(tmp_path / "some", HASH)).tolist() == [True, True, False, False, True]
    assert is_among(values, mapped(tmp_path / "none", HASH)).tolist() == [False] * 5
