from pathlib import Path

import numpy as np

from puna.data.build.rows import HASH, partition_of, read_rows, row_parts, write_rows


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
    everything = np.concatenate(list(parts.values()))
    found = [read_rows([tmp_path / "0", tmp_path / "1"], "near", partition, kind) for partition in range(7)]
    assert sum(map(len, found)) == 600
    for partition, rows in enumerate(found):
        expected = everything[partition_of(everything["key"].copy(), 7) == partition]
        assert np.array_equal(np.sort(rows, order=["key", "number"]), np.sort(expected, order=["key", "number"]))
    assert len(list(row_parts([tmp_path / "0"], "near", 0, kind))) == 3


def test_nothing_written_is_nothing_read(tmp_path: Path):
    write_rows(tmp_path, "lines-00000", [], 3, HASH)
    assert len(read_rows([tmp_path], "lines", 1, HASH)) == 0


def test_neighbouring_numbers_are_spread_evenly():
    counts = np.bincount(partition_of(np.arange(100_000, dtype=np.uint64) << np.uint64(32), 16), minlength=16)
    assert counts.min() > 5800
    assert counts.max() < 6700


def test_partitions_are_those_of_every_version():
    assert partition_of(np.array([0, 1, 2, 2**63], dtype=np.uint64), 1000).tolist() == [0, 604, 447, 707]
