"""Import and export of a 1B-shaped model in every format, beside a plain copy of its file; opening of 65B-shaped ones.

Rates are bytes of weights over time, to the disk and flushed. A round copies the model's file, then writes and reads
each format in turn; ratios are taken within a round. What is written is compared bit by bit, as by `puna export`,
which is timed apart as `prove`. Memory is sampled: `anonymous` is what the process
holds without pages of mapped files, which the system takes back when it likes.

    python bench/convert.py --rounds 3

The record goes to bench/results/.
"""

import argparse
import platform
import resource
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from puna.config.recipe import ModelConfig
from puna.core.console import say
from puna.core.files import sync, write_json
from puna.core.records import commit, machine
from puna.formats.checkpoint import Checkpoint, Hints, Stored
from puna.formats.easylm.write import write_easylm
from puna.formats.gguf.write import write_gguf
from puna.formats.hf.write import write_hf
from puna.formats.llama.write import write_llama
from puna.formats.native.write import write_native
from puna.formats.openlm.write import write_openlm
from puna.formats.proof.compare import compare_weights
from puna.formats.registry import format_named
from puna.plan.count import parameters
from puna.tokenizer.tokenizer import Tokenizer

ONE_B = {"dim": 2048, "n_layers": 22, "n_heads": 16, "n_kv_heads": 16, "ffn_dim": 5632, "norm_eps": 1e-5}
"""EasyLM's 1b, with the feed-forward width that OpenLM gives it, so that every format can say it."""

Write = Callable[[Checkpoint, Path], Any]
FORMATS: dict[str, tuple[str, Write]] = {
    "puna": ("puna", lambda source, out: write_native(source, None, out, inputs={}, results={})),
    "hf": ("hf", lambda source, out: write_hf(source, None, out)),
    "llama": ("llama", lambda source, out: write_llama(source, None, out)),
    "llama, 4 files": ("llama", lambda source, out: write_llama(source, None, out, model_parallel=4)),
    "easylm": ("easylm", lambda source, out: write_easylm(source, None, out)),
    "openlm": ("openlm", lambda source, out: write_openlm(source, None, out)),
    "gguf BF16": ("gguf", lambda source, out: write_gguf(source, None, out, file_type="BF16")),
    "gguf Q8_0": ("gguf", lambda source, out: write_gguf(source, None, out, file_type="Q8_0")),
    "gguf Q4_K": ("gguf", lambda source, out: write_gguf(source, None, out, file_type="Q4_K")),
}


class RandomCheckpoint(Checkpoint):
    """Random weights, made when they are read."""

    format = "random"

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(Path("random"), config, {})
        self.stored = {name: Stored("bfloat16", 2 * weight.numel) for name, weight in self.weights.items()}

    def tensor(self, name: str) -> Tensor:
        """Normal values."""
        return (torch.randn(self.weights[name].shape) * 0.02).bfloat16()

    def tokenizer(self) -> Tokenizer | None:
        """None."""
        return None


def anonymous_bytes() -> int:
    """What the process holds now, pages of mapped files aside."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("this benchmark reads /proc/self/status, as Linux has it")


@contextmanager
def watched(row: dict[str, Any], name: str) -> Iterator[None]:
    """Time a piece of work, and the most memory that it held beyond what was held before."""
    before = peak = anonymous_bytes()
    done = threading.Event()

    def sample() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, anonymous_bytes())

    sampler = threading.Thread(target=sample)
    sampler.start()
    started = time.perf_counter()
    try:
        yield
    finally:
        row[f"{name}_seconds"] = time.perf_counter() - started
        done.set()
        sampler.join()
        row[f"{name}_anonymous_bytes"] = peak - before


def flush(directory: Path) -> None:
    """To the disk, as `atomic_directory` does."""
    for path in sorted(directory.rglob("*")):
        sync(path)


def copy(source: Path, out: Path) -> float:
    """Seconds of a plain copy through memory, flushed: the disk's rate."""
    started = time.perf_counter()
    with source.open("rb") as reader, out.open("wb") as writer:
        while block := reader.read(16 << 20):
            writer.write(block)
    sync(out)
    seconds = time.perf_counter() - started
    out.unlink()
    return seconds


def measure(source: Checkpoint, config: ModelConfig, root: Path) -> dict[str, dict[str, Any]]:
    """One round: every format written, opened, brought back, compared."""
    rows: dict[str, dict[str, Any]] = {}
    for name, (form, write) in FORMATS.items():
        row = rows[name] = {}
        out, again = root / "out", root / "again"
        for directory in (out, again):
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
        with watched(row, "write"):
            write(source, out)
            flush(out)
        row["file_bytes"] = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
        with watched(row, "open"):
            written = format_named(form).open(out, Hints.of(config))
        if form != "puna":
            with watched(row, "import"):
                write_native(written, None, again, inputs={}, results={})
                flush(again)
        with watched(row, "prove"):
            compare_weights(source, written, lambda done: None)
    return rows


def open_seconds(name: str, root: Path) -> float:
    """Seconds to open a model with LLaMA 65B's 723 tensors, small ones: headers are read and nothing else.

    That the size of the tensors makes no difference is tested on sparse files of 65B (tests/formats).
    """
    form, write = FORMATS[name]
    config = ModelConfig.model_validate(
        {"dim": 256, "n_layers": 80, "n_heads": 8, "n_kv_heads": 8, "ffn_dim": 768, "norm_eps": 1e-5, "vocab_size": 512}
    )
    shutil.rmtree(root / "out", ignore_errors=True)
    (root / "out").mkdir()
    write(RandomCheckpoint(config), root / "out")
    times = []
    for _ in range(5):
        started = time.perf_counter()
        format_named(form).open(root / "out", Hints.of(config)).check_complete()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", type=Path, default=None, help="on the disk to measure")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    config = ModelConfig.model_validate(ONE_B)
    n_bytes = 2 * parameters(config).total
    rounds: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        root = Path(directory)
        (root / "model").mkdir()
        write_native(RandomCheckpoint(config), None, root / "model", inputs={}, results={})
        source = format_named("puna").open(root / "model", Hints())
        for number in range(arguments.rounds):
            seconds = copy(root / "model" / "model.safetensors", root / "copy")
            rows = measure(source, config, root)
            rounds.append({"copy_seconds": seconds, "rows": rows})
            say(f"round {number + 1} of {arguments.rounds}: copy {n_bytes / seconds / 1e9:.2f} GB/s")
        opened = {name: open_seconds(name, root) for name in FORMATS}
    table = [row_of(name, rounds, n_bytes) | {"open_80_layers_seconds": opened[name]} for name in FORMATS]
    for row in table:
        say(str(row))
    now = datetime.now(UTC)
    write_json(
        arguments.out / f"convert_{now:%Y-%m-%d}.json",
        {
            "benchmark": "convert", "command": f"python bench/convert.py {' '.join(sys.argv[1:])}".strip(),
            "commit": commit(), "date": now.isoformat(timespec="seconds"), "machine": machine(),
            "versions": {"python": platform.python_version(), "torch": torch.__version__},
            "what": f"{parameters(config).total / 1e9:.2f}B parameters in bfloat16, {n_bytes / 1e9:.2f} GB",
            "weight_bytes": n_bytes, "copy_bytes_per_second": [n_bytes / r["copy_seconds"] for r in rounds],
            "largest_tensor_bytes": 2 * config.vocab_size * config.dim, "rows": table,
            "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "rounds": rounds,
        },
    )  # fmt: skip


def row_of(name: str, rounds: list[dict[str, Any]], n_bytes: int) -> dict[str, Any]:
    """The medians of a format."""
    row: dict[str, Any] = {"format": name}
    for part in ("write", "import", "prove"):
        times = [r["rows"][name].get(f"{part}_seconds") for r in rounds]
        if None in times:
            continue
        row[f"{part}_seconds_median"] = statistics.median(times)
        row[f"{part}_bytes_per_second"] = n_bytes / statistics.median(times)
        if part != "prove":
            ratios = [r["copy_seconds"] / seconds for r, seconds in zip(rounds, times, strict=True)]
            row[f"{part}_of_copy"] = statistics.median(ratios)
            row[f"{part}_of_copy_min_max"] = [min(ratios), max(ratios)]
        row[f"{part}_anonymous_bytes"] = max(r["rows"][name][f"{part}_anonymous_bytes"] for r in rounds)
    row["file_bytes"] = rounds[0]["rows"][name]["file_bytes"]
    return row


if __name__ == "__main__":
    main()
