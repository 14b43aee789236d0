"""Measured peak memory against `puna plan`, on this machine's CPU.

Each configuration trains for three optimizer steps, as `puna train` does, on random tokens. The peak is what the
operating system saw of a process of its own, in two such processes: one in which the C library's allocator gives every
freed block of a MiB or more back (MALLOC_MMAP_THRESHOLD_), so that nothing but what is in use counts, and one with the
allocator as it is, whose gaps count too. The record goes to bench/results/.

    python bench/plan.py                  all configurations, about half an hour on two cores
    python bench/plan.py --only 60M       those whose name holds a word
    python bench/plan.py --again PATH     the measurements of a record, against the plan as it is now
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from puna.config.recipe import DEFAULT_LOSS_CHUNK, Recipe
from puna.core.files import write_json
from puna.core.records import commit, machine, packages
from puna.core.units import format_bytes
from puna.plan.layout import CPU, share_of
from puna.plan.memory import plan_memory

RESULTS = Path(__file__).parent / "results"
STEPS = 3
SIZES: dict[str, dict[str, Any]] = {
    "15M": {"dim": 256, "n_layers": 6, "n_heads": 4, "n_kv_heads": 2, "ffn_dim": 1024, "vocab_size": 16_384},
    "60M": {"dim": 512, "n_layers": 8, "n_heads": 8, "n_kv_heads": 8, "ffn_dim": 1536, "vocab_size": 32_000},
}
CONFIGURATIONS: list[tuple[str, int, int, str, bool, str]] = [
    # size, tokens per pass, passes per step, policy, compiled, optimizer
    ("15M", 4096, 1, "none", False, "adamw"),
    ("15M", 4096, 1, "llama", False, "adamw"),
    ("15M", 4096, 1, "full", False, "adamw"),
    ("15M", 4096, 1, "none", True, "adamw"),
    ("15M", 4096, 1, "full", True, "adamw"),
    ("15M", 2048, 2, "none", True, "adamw"),
    ("60M", 2048, 1, "none", False, "adamw"),
    ("60M", 2048, 1, "full", False, "adamw"),
    ("60M", 4096, 1, "none", True, "adamw"),
    ("60M", 2048, 1, "llama", True, "adamw"),
    ("60M", 2048, 1, "every-2", True, "adamw"),
    ("60M", 1024, 2, "none", False, "muon"),
]


def recipe_of(size: str, micro: int, passes: int, policy: str, compiled: bool, optimizer: str) -> Recipe:
    """The configuration as a recipe."""
    return Recipe.model_validate(
        {
            "name": "plan",
            "model": SIZES[size] | {"context": 512},
            "train": {
                "tokens": micro * passes * STEPS,
                "batch_tokens": micro * passes,
                "micro_batch_tokens": micro,
                "compile": compiled,
                "recompute": policy,
                "precision": "fp32",
            },
            "optim": {"name": optimizer, "warmup_steps": 0},
            "checkpoint": {"asynchronous": False},
        }
    )


def train(recipe: Recipe) -> list[int]:
    """Peak memory in bytes after the imports, with the model, and after each step."""
    import torch

    from puna.model.init import init_weights
    from puna.model.llama import Llama
    from puna.ops.cross_entropy import linear_cross_entropy
    from puna.parallel.recompute import apply_recompute
    from puna.train.gradient import clip_divisor, gradient_norm
    from puna.train.optimizer import build_optimizer

    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    peaks = [peak()]
    settings = recipe.train
    with torch.device("meta"):
        model = Llama(recipe.model)
    apply_recompute(model, settings.recompute, compile=settings.compile, on_cpu=True)
    model.to_empty(device="cpu")
    init_weights(model, recipe.seed)
    optimizer = build_optimizer(model, recipe.optim)
    generator = torch.Generator().manual_seed(0)
    peaks.append(peak())
    for _ in range(STEPS):
        for _ in range(settings.batch_tokens // settings.micro_batch_tokens):
            shape = (settings.micro_batch_tokens // recipe.model.context, recipe.model.context + 1)
            tokens_BT = torch.randint(recipe.model.vocab_size, shape, generator=generator)
            x_BTD = model.hidden(tokens_BT[:, :-1])
            targets_N = tokens_BT[:, 1:].flatten()
            total, _ = linear_cross_entropy(
                x_BTD.flatten(0, 1),
                model.output.weight,
                targets_N,
                settings.loss_chunk_tokens or DEFAULT_LOSS_CHUNK[CPU],
            )
            (total / settings.batch_tokens).backward()
            del x_BTD, total
        optimizer.step(clip_divisor(gradient_norm(model), recipe.optim.clip_norm))
        optimizer.zero_grad(set_to_none=True)
        peaks.append(peak())
    return peaks


def measure(number: int, give_back: bool) -> list[int]:
    """The peaks of a configuration in a process of its own."""
    # The compiler works, as in a user's first run: what it finds in a cache takes less memory.
    environment = dict(os.environ) | {"TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
    if give_back:
        environment["MALLOC_MMAP_THRESHOLD_"] = str(2**20)
    command = [sys.executable, __file__, "--worker", str(number)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if result.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{result.stderr[-2000:]}")
    return json.loads(result.stdout.splitlines()[-1])


def compare(number: int, before: dict[str, Any] | None) -> dict[str, Any]:
    """One row of the record: plan and measurements of a configuration; those of `before` are not made again."""
    size, micro, passes, policy, compiled, optimizer = CONFIGURATIONS[number]
    memory = plan_memory(share_of(recipe_of(*CONFIGURATIONS[number]), 1, CPU))
    if before is None:
        tight, usual = (measure(number, give_back) for give_back in (True, False))
        before = {
            "measured_bytes": usual[-1],
            "measured_without_gaps_bytes": tight[-1],
            "measured_at": {"imports": usual[0], "model": usual[1], "steps": usual[2:]},
            "measured_without_gaps_at": {"imports": tight[0], "model": tight[1], "steps": tight[2:]},
        }
    gaps = next(term.bytes for term in memory.peak.terms if "gaps" in term.name)
    return {
        "size": size,
        "micro_batch_tokens": micro,
        "passes": passes,
        "recompute": policy,
        "mode": "compiled" if compiled else "eager",
        "optimizer": optimizer,
        "moment": memory.peak.name,
        "terms": {term.name: term.bytes for term in memory.peak.terms},
        "plan_bytes": memory.peak.bytes,
        "plan_without_gaps_bytes": memory.peak.bytes - gaps,
        **{name: value for name, value in before.items() if name.startswith("measured")},
    }


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="configurations whose name holds this")
    parser.add_argument("--again", type=Path, help="a record whose measurements are taken")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker is not None:
        print(json.dumps(train(recipe_of(*CONFIGURATIONS[arguments.worker]))))
        return
    record = json.loads(arguments.again.read_text(encoding="utf-8")) if arguments.again else {}
    before = {_name(row): row for row in record.get("rows", [])}
    rows = []
    print(f"{'':<34}{'plan':>12}{'measured':>12}{'error':>8}{'no gaps':>12}{'measured':>12}{'error':>8}")
    for number, configuration in enumerate(CONFIGURATIONS):
        size, micro, passes, policy, compiled, optimizer = configuration
        name = f"{size} {passes}x{micro} {policy} {'compiled' if compiled else 'eager'} {optimizer}"
        if arguments.only not in name or (record and name not in before):
            continue
        row = compare(number, before.get(name))
        rows.append(row)
        columns = ""
        for kind in ("", "_without_gaps"):
            planned, measured = row[f"plan{kind}_bytes"], row[f"measured{kind}_bytes"]
            columns += f"{format_bytes(planned):>12}{format_bytes(measured):>12}{planned / measured - 1:>+8.1%}"
        print(f"{name:<34}{columns}", flush=True)
    now = datetime.now(UTC)
    path = arguments.again or RESULTS / f"plan_cpu_{now:%Y-%m-%d}.json"
    made = {
        "schema": 1,
        "benchmark": "plan_cpu",
        "what": "peak resident memory of three training steps, float32, T 512, against puna.plan.memory",
        "sizes": SIZES,
        "command": "python bench/plan.py" + (f" --only {arguments.only}" if arguments.only else ""),
        "commit": commit(),
        "date": now.isoformat(timespec="seconds"),
        "machine": machine(),
        "packages": packages(),
    }
    write_json(path, (record or made) | {"rows": rows})
    print(f"record: {path}")


def _name(row: dict[str, Any]) -> str:
    return (
        f"{row['size']} {row['passes']}x{row['micro_batch_tokens']} {row['recompute']} {row['mode']} {row['optimizer']}"
    )


if __name__ == "__main__":
    main()
