"""The token loader: tokens/s from a warm page cache, resident memory over 100 GB, time to any step.

Each measurement runs in a process of its own, so that its resident memory is its own. The 100 GB are sparse files: they
have all their bytes for whoever reads them and next to none on the disk. The peer is the usual way to read such files,
one memory map per file (as nanoGPT does), with Puna's order.

    python bench/loader.py

The record goes to bench/results/.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from puna.config.recipe import Recipe
from puna.core.files import write_json
from puna.core.records import commit, machine
from puna.shards.files import LocalFiles
from puna.shards.format import DOCUMENTS, FORMAT, MANIFEST, ORIGINS, ROW, TOKENS, VERSION
from puna.shards.loader import Loader
from puna.shards.prefetch import Prefetch
from puna.shards.shards import TokenShards
from puna.shards.verified import MEMORY, SCHEMA

CONTEXT, ROWS = 2048, 16
SOURCES = {"web": 3.0, "code": 1.0}
BATCH_TOKENS = 4_194_304
WARM_SEQUENCES = 1 << 16
SPARSE_TOKENS = 500_000_000
MAPPED_TOKENS = 50_000_000
"""The peer's share: its resident memory grows by a multiple of what it reads."""

FILES = {"kind": "files", "path": "x", "include": ["*"], "heldout_fraction": 0.1}
RECIPE = Recipe.model_validate(
    {
        "name": "bench",
        "data": {"sources": dict.fromkeys(SOURCES, FILES)},
        "mixture": SOURCES,
        "model": {"context": CONTEXT},
        "train": {"tokens": 10**15, "batch_tokens": BATCH_TOKENS},
    }
)  # fmt: skip


def make_shards(directory: Path, source: str, shards: int, tokens: int, *, sparse: bool) -> None:
    """A source of `shards` files of `tokens` random tokens each; with `sparse`, of zeros that take no disk."""
    directory.mkdir(parents=True)
    rng = np.random.default_rng(len(source))
    files = []
    for number in range(shards):
        sizes = {TOKENS: 2 * tokens, DOCUMENTS: ROW.itemsize, ORIGINS: 1}
        for kind, size in sizes.items():
            path = directory / kind.format(number)
            if kind is TOKENS and not sparse:
                rng.integers(3, 32_000, tokens, dtype=np.uint16).tofile(path)
            else:
                with path.open("wb") as file:
                    file.truncate(size)
            files.append({"name": path.name, "bytes": size, "sha256": f"{len(files):064x}"})
    manifest = {
        "format": FORMAT, "version": VERSION, "source": source, "split": "train", "dtype": "uint16",
        "tokens": shards * tokens, "documents": shards, "text_bytes": 0, "documents_sha256": "",
        "tokenizer": {"sha256": "", "vocab_size": 32_000, "bos_id": 1, "eos_id": 2}, "shard_tokens": tokens,
        "shards": [{"tokens": tokens, "documents": 1}] * shards, "files": files,
    }  # fmt: skip
    write_json(directory / MANIFEST, manifest)


def remember(directory: Path) -> None:
    """What a verification leaves behind: hashing 100 GB is not what is measured."""
    files = LocalFiles(directory)
    entries = json.loads((directory / MANIFEST).read_text())["files"]
    known = {entry["name"]: [files.identity(entry["name"]), entry["sha256"]] for entry in entries}
    write_json(directory / MEMORY, {"schema": SCHEMA, "files": known})


def open_loader(root: Path) -> Loader:
    """The loader as training opens it."""
    return Loader({source: TokenShards.open(root / source, verify=True) for source in SOURCES}, RECIPE)


def resident_bytes() -> int:
    """Resident memory of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


class MappedLoader(Loader):
    """The peer: the same order, every file mapped when it is first read."""

    def batch(self, first: int, count: int) -> NDArray[np.int64]:
        """As the loader's."""
        rows = np.empty((count, CONTEXT + 1), dtype=np.int64)
        for row in range(count):
            source, position = self._locate(first + row)
            shards = self._shards[source]
            filled = 0
            for path, start, into in shards.pieces(position, SCRATCH):
                part = mapped(path)[start // 2 : (start + into.nbytes) // 2]
                rows[row, filled : filled + len(part)] = part
                filled += len(part)
        return rows


SCRATCH = np.empty(2 * (CONTEXT + 1), dtype=np.uint8)
MAPS: dict[str, NDArray[np.uint16]] = {}


def mapped(path: str) -> NDArray[np.uint16]:
    """The file's tokens."""
    if path not in MAPS:
        MAPS[path] = np.memmap(path, dtype=np.uint16, mode="r")
    return MAPS[path]


def requests(tokens: int, stride: int = ROWS) -> list[tuple[int, int]]:
    """Batches with this number of tokens."""
    return [(number * stride, ROWS) for number in range(tokens // (CONTEXT * ROWS))]


def measure_warm(root: Path, kind: str) -> dict[str, Any]:
    """Tokens per second from the page cache."""
    loader = open_loader(root)
    loader.__class__ = MappedLoader if kind == "mapped" else Loader
    loader.batch(WARM_SEQUENCES * 9, ROWS)
    wanted, waited = requests(WARM_SEQUENCES * CONTEXT), 0.0
    started = time.perf_counter()
    if kind == "prefetch":
        with Prefetch(lambda wanted: loader.batch(*wanted), wanted) as batches:
            for _ in batches:
                pass
    else:
        for first, count in wanted:
            loader.batch(first, count)
    rate = len(wanted) * ROWS * CONTEXT / (time.perf_counter() - started)
    if kind == "prefetch":
        wanted, work = wanted[:400], 4 * ROWS * CONTEXT / rate
        with Prefetch(lambda wanted: loader.batch(*wanted), wanted) as batches:
            next(batches)
            batches.waited, started = 0.0, time.perf_counter()
            for _ in batches:
                time.sleep(work)
            waited = batches.waited / (time.perf_counter() - started)
    return {"tokens_per_second": rate, "waited": waited}


def measure_sparse(root: Path, kind: str) -> dict[str, Any]:
    """Resident memory before and after reading from all over the files."""
    loader = open_loader(root)
    loader.__class__ = MappedLoader if kind == "mapped" else Loader
    loader.batch(0, ROWS)
    wanted = requests(MAPPED_TOKENS if kind == "mapped" else SPARSE_TOKENS)
    before, most = resident_bytes(), 0
    started = time.perf_counter()
    for number, (first, count) in enumerate(wanted):
        loader.batch(first, count)
        if number % 100 == 0:
            most = max(most, resident_bytes())
    return {
        "tokens_read": len(wanted) * ROWS * CONTEXT, "seconds": time.perf_counter() - started,
        "resident_before": before, "resident_after": resident_bytes(), "resident_most": most,
    }  # fmt: skip


def measure_start(root: Path, kind: str) -> dict[str, Any]:
    """Seconds until the batch of step 10^6 is there: files checked, loader made, 4M tokens read."""
    rows = BATCH_TOKENS // CONTEXT
    started = time.perf_counter()
    loader = open_loader(root)
    opened = time.perf_counter() - started
    loader.batch(10**6 * rows, rows)
    return {"open_seconds": opened, "seconds": time.perf_counter() - started}


MEASURES = {"warm": measure_warm, "sparse": measure_sparse, "start": measure_start}


def main() -> None:
    """Measure and write the record, or, for a child, one measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", nargs=3, metavar=("MEASURE", "KIND", "ROOT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        measure, kind, root = arguments.child
        print(json.dumps(MEASURES[measure](Path(root), kind)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for source, shards in zip(SOURCES, (8, 2), strict=True):
            make_shards(root / "warm" / source, source, shards, 20_000_000, sparse=False)
        for source, shards in zip(SOURCES, (400, 100), strict=True):
            make_shards(root / "sparse" / source, source, shards, 100_000_000, sparse=True)
        time.sleep(3)  # what has just been written is not remembered
        for folder in ("warm", "sparse"):
            for source in SOURCES:
                remember(root / folder / source)
        record = measure_all(root, arguments.rounds)
    path = Path(__file__).parent / "results" / f"loader_{datetime.now(UTC):%Y-%m-%d}.json"
    write_json(path, record)
    print(f"record: {path}")


def measure_all(root: Path, rounds: int) -> dict[str, Any]:
    """Every measurement, the kinds taking turns."""

    def child(measure: str, kind: str) -> dict[str, Any]:
        folder = root / ("warm" if measure == "warm" else "sparse")
        command = [sys.executable, __file__, "--child", measure, kind, str(folder)]
        result = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        print(measure, kind, {name: f"{value:.4g}" for name, value in result.items()}, flush=True)
        return result

    load = os.getloadavg()[0]  # before: of other work on the machine
    warm = {kind: [] for kind in ("loader", "prefetch", "mapped")}
    for _ in range(rounds):
        for kind, results in warm.items():
            results.append(child("warm", kind))
    starts = [child("start", "loader") for _ in range(rounds)]
    sparse = {kind: child("sparse", kind) for kind in ("loader", "mapped")}
    rates = {kind: [result["tokens_per_second"] for result in results] for kind, results in warm.items()}
    return {
        "schema": 1,
        "benchmark": "loader",
        "what": f"T {CONTEXT}, batches of {ROWS} sequences, two sources 3:1, 16-bit ids; warm: 400 MB of random ids in "
        "the page cache, one block of 65,536 sequences; sparse: 100 GB in 500 files",
        "command": f"python bench/loader.py --rounds {rounds}",
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "load_average": load,
        "mapped": "the same order read through one memory map per file, as nanoGPT does",
        "tokens_per_second": {kind: statistics.median(values) for kind, values in rates.items()},
        "tokens_per_second_min_max": {kind: [min(values), max(values)] for kind, values in rates.items()},
        "waited_share_with_work_of_four_reads": statistics.median(result["waited"] for result in warm["prefetch"]),
        "resident_growth_bytes": {
            kind: result["resident_most"] - result["resident_before"] for kind, result in sparse.items()
        },
        "seconds_to_the_batch_of_step_1e6": statistics.median(result["seconds"] for result in starts),
        "seconds_to_open_verified_100_GB": statistics.median(result["open_seconds"] for result in starts),
        "warm": warm,
        "sparse": sparse,
        "start": starts,
    }


if __name__ == "__main__":
    main()
