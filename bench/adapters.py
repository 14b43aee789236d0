"""What an adapter costs per token, beside the model alone: requests of one adapter, and of several at once.

    python bench/adapters.py [--rank 16] [--adapters 4] [--rounds 5] [--out FILE]

The model has SmolLM2-135M's shape and random weights, the adapters update all linear layers of its blocks. One thread
computes, and its own time on the processor is taken, so that what else the machine does counts little. Each case is
measured once in every round, one after the other; its median counts, and the fastest and slowest round are beside it.
"""

import argparse
import json
import shlex
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from puna.config.recipe import ModelConfig
from puna.core.records import commit, machine, packages
from puna.infer.adapters import Products, linear_shapes
from puna.infer.engine import Engine
from puna.infer.kernel_runner import KernelRunner
from puna.infer.measure import random_requests
from puna.infer.requests import Request
from puna.ops.low_rank import LowRankProduct
from puna.ops.quantized import Blocks, WeightKind

SHAPE = ModelConfig(
    dim=576, n_layers=30, n_heads=9, n_kv_heads=3, ffn_dim=1536, vocab_size=49152, context=2048, tie_embeddings=True
)  # fmt: skip
PROMPT, TOKENS = 512, 24
BATCHES = (1, 8)


class RandomSource:
    """Implements `puna.infer.source.Source` with random numbers, the same for a name each time."""

    config = SHAPE

    def tensor(self, name: str) -> Tensor:
        """A parameter; gains are one."""
        shapes = {f"{layer}.weight": shape for layer, shape in linear_shapes(SHAPE).items()}
        shapes["tok_embeddings.weight"] = SHAPE.vocab_size, SHAPE.dim
        if name not in shapes:
            return torch.ones(SHAPE.dim)
        seed = sorted(shapes).index(name)
        return torch.randn(*shapes[name], generator=torch.Generator().manual_seed(seed)) * 0.02

    def blocks(self, name: str) -> Blocks | None:
        """None: nothing is stored quantized."""
        return None


def random_products(rank: int, seed: int) -> Products:
    """What an adapter of all linear layers of the blocks adds."""
    generator = torch.Generator().manual_seed(seed)
    return {
        layer: LowRankProduct(
            down_RI=torch.randn(rank, inputs, generator=generator) * 0.02,
            up_OR=torch.randn(outputs, rank, generator=generator) * 0.02,
        )
        for layer, (outputs, inputs) in linear_shapes(SHAPE).items()
        if layer != "output"
    }  # fmt: skip


def requests(batch: int, names: list[str], *, prompt: int, tokens: int, seed: int) -> list[Request]:
    """Requests whose adapters take turns; an empty name is the model itself. None finds what another case computed."""
    made = random_requests(SHAPE, [prompt] * batch, [tokens] * batch, seed)
    salt = f"{len(names)} {seed}"
    return [replace(request, adapter=names[place % len(names)], salt=salt) for place, request in enumerate(made)]


def measure(kind: WeightKind, adapters: dict[str, Products], rounds: int) -> list[dict[str, object]]:
    """Milliseconds of the processor per token of a prompt and per step of texts, of each case."""
    names = list(adapters)
    plain = Engine(KernelRunner(RandomSource(), kind, pages=1024))
    loaded = Engine(KernelRunner(RandomSource(), kind, pages=1024, adapters=adapters))
    cases: dict[str, tuple[Engine, list[str]]] = {
        "no adapter loaded": (plain, [""]), "loaded, none used": (loaded, [""]), "one adapter": (loaded, names[:1]),
        "each its own": (loaded, names),
    }  # fmt: skip
    seconds: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds + 1):
        for case, (engine, chosen) in cases.items():
            found = {"prompt_ms_per_token": _prompt(engine, chosen, number)}
            found |= {f"batch_{batch}_ms_per_step": _step(engine, chosen, batch, number) for batch in BATCHES}
            if number:  # the first round has what only the first steps do
                for what, value in found.items():
                    seconds.setdefault((case, what), []).append(value)
    return [
        {"weights": kind.value, "case": case}
        | {what: _spread(values) for (of, what), values in seconds.items() if of == case}
        for case in cases
    ]  # fmt: skip


def _spread(seconds: list[float]) -> dict[str, float]:
    return {
        name: round(1e3 * value, 4)
        for name, value in (("median", median(seconds)), ("fastest", min(seconds)), ("slowest", max(seconds)))
    }


def _prompt(engine: Engine, chosen: list[str], seed: int) -> float:
    """Seconds for each token of a prompt."""
    asked = requests(1, chosen, prompt=PROMPT, tokens=1, seed=seed)
    began = time.process_time()
    engine.generate(asked)
    return (time.process_time() - began) / PROMPT


def _step(engine: Engine, chosen: list[str], batch: int, seed: int) -> float:
    """Seconds for one more token of each request."""
    for request in requests(batch, chosen, prompt=8, tokens=TOKENS, seed=seed):
        engine.add(request)
    engine.step()  # reads the prompts and writes the first tokens
    began = time.process_time()
    while engine.busy:
        engine.step()
    return (time.process_time() - began) / (TOKENS - 1)


def main() -> None:
    """Measure all kinds of weights, print the figures and write them down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--adapters", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    adapters = {f"adapter-{number}": random_products(given.rank, number) for number in range(given.adapters)}
    rows = []
    for kind in (WeightKind.INT4, WeightKind.INT8, WeightKind.FLOAT32):
        rows += measure(kind, adapters, given.rounds)
        print(json.dumps(rows[-4:], indent=1), flush=True)
    record = {
        "schema": 1, "benchmark": "adapters", "command": shlex.join(["python", "bench/adapters.py", *sys.argv[1:]]),
        "commit": commit(), "date": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine(),
        "packages": packages(), "threads": 1, "rank": given.rank, "adapters": given.adapters,
        "rounds": given.rounds, "prompt": PROMPT, "shape": SHAPE.model_dump(mode="json"), "rows": rows,
    }  # fmt: skip
    if given.out:
        given.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
