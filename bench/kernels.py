"""The decoder's linear layers alone, against what the processor can do.

    python bench/kernels.py [--threads 1 2] [--rows 1 2 4 8 32 128] [--shape 4096x4096] [--out FILE]

One row is compared with plain reading of memory, many rows with plain multiplying in registers, both measured in the
same run (bench/limits/limits.cpp). A layer is copied until all copies together have 512 MB, more than a last cache
holds, and each call takes the next one.
"""

import argparse
import ctypes
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from puna.model.llama import rope_table
from puna.ops.cpu.builder import build
from puna.ops.cpu.decoder import MACHINE, InstructionSet, instruction_set, open_kernels
from puna.ops.cpu.decoder.packing import Arena, pack
from puna.ops.cpu.decoder.program import Program, StepRows
from puna.ops.quantized import WeightKind

EVICTED = 512 * 2**20
"""Bytes of all copies of a layer: larger than last caches are."""


def seconds(call: Callable[[], object], repeats: int = 7) -> float:
    """The median time of a call, after one that is not counted."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


class Limits:
    """What this processor does at best on some threads, measured."""

    def __init__(self, instructions: InstructionSet, threads: int) -> None:
        folder = Path(__file__).parent / "limits"
        library = build(folder, ("-O3", "-std=c++20", "-fPIC", "-shared", "-fopenmp", *MACHINE[instructions]))
        number = ctypes.c_int64
        library.read_memory.argtypes = ctypes.c_void_p, number, number
        for name in ("multiply_floats", "multiply_bytes"):
            getattr(library, name).restype, getattr(library, name).argtypes = number, (number, number)
        memory = Arena().take(EVICTED)
        memory.fill_(1)
        times = 10_000_000
        self.bytes_per_second = EVICTED / seconds(lambda: library.read_memory(memory.data_ptr(), EVICTED, threads))
        done = threads * times * 12 * (64 if instructions == InstructionSet.AVX512 else 32)
        self.float_products = done / 4 / seconds(lambda: library.multiply_floats(times, threads), 3)
        self.byte_products = done / seconds(lambda: library.multiply_bytes(times, threads), 3)

    def as_json(self) -> dict[str, float]:
        """In units for people."""
        return {
            "read_GB_per_s": round(self.bytes_per_second / 1e9, 1),
            "float32_GFLOP_per_s": round(2 * self.float_products / 1e9),
            "int8_GOP_per_s": round(2 * self.byte_products / 1e9),
        }


def measure(instructions: InstructionSet, kind: WeightKind, shape: tuple[int, int], rows: int) -> tuple[float, int]:
    """Seconds of one linear layer, and bytes of its weights."""
    library = open_kernels(instructions)
    outputs, inputs = shape
    weight = torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(0)) * 0.02
    arena = Arena()
    first = pack(library, [weight], kind, arena)
    copies = max(1, EVICTED // len(first.memory))
    packed = [first, *(pack(library, [weight], kind, arena) for _ in range(copies - 1))]
    program = Program(library, page_size=16, pages=1)
    x, out = program.buffer(inputs), program.buffer(outputs)
    for weights in packed:
        program.linear(weights, x, out)
    step = step_of(rows)
    program.run(step)
    program.rows_of(x)[:] = torch.randn(program.rows_of(x).shape)
    return seconds(lambda: program.run(step), 5) / copies, len(first.memory)


def step_of(rows: int) -> StepRows:
    """Rows without any sequence that is read."""
    cosines, sines = rope_table(torch.arange(rows), 2, 10_000.0)
    positions: Tensor = torch.arange(rows, dtype=torch.int32)
    return StepRows(
        tokens_M=torch.zeros(rows, dtype=torch.long), positions_M=positions,
        sequences_M=torch.zeros(rows, dtype=torch.int32), tables_SP=torch.zeros(1, rows, dtype=torch.int32),
        wanted_W=torch.empty(0, dtype=torch.long), cosines=cosines, sines=sines,
    )  # fmt: skip


def main() -> None:
    """Measure, print a table and write a record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 2, 4, 8, 32, 128])
    parser.add_argument("--kinds", nargs="+", default=list(WeightKind))
    parser.add_argument("--sets", nargs="+", default=[name.name for name in InstructionSet])
    parser.add_argument("--shape", default="2048x2048", help="outputs x inputs")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    outputs, inputs = map(int, given.shape.split("x"))
    best = instruction_set()
    sets = [one for one in InstructionSet if one.name in given.sets and one in (best, InstructionSet.AVX2)]
    record: dict[str, object] = {"processor": platform.processor() or platform.machine(), "shape": [outputs, inputs]}
    lines = []
    for threads in given.threads:
        torch.set_num_threads(threads)
        for instructions in sets:
            limits = Limits(instructions, threads)
            print(f"{instructions}, {threads} threads: {limits.as_json()}")
            lines.append({"set": instructions, "threads": threads, "limits": limits.as_json()})
            for kind in map(WeightKind, given.kinds):
                for rows in given.rows:
                    took, n_bytes = measure(instructions, kind, (outputs, inputs), rows)
                    peak = limits.byte_products if kind.is_quantized else limits.float_products
                    lines.append({
                        "set": instructions, "threads": threads, "kind": kind, "rows": rows, "microseconds": took * 1e6,
                        "share_of_reading": n_bytes / took / limits.bytes_per_second,
                        "share_of_multiplying": outputs * inputs * rows / took / peak,
                    })  # fmt: skip
                    shares = [f"{lines[-1]['share_of_' + what]:5.0%} of {what}" for what in ("reading", "multiplying")]
                    what = f"{instructions:13} {threads} threads {kind:9} {rows:4} rows"
                    print(f"{what} {took * 1e6:9.1f} µs {', '.join(shares)}")
    record["lines"] = lines
    if given.out:
        given.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
