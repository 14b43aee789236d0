"""Speed and memory of every recomputation policy, and of every layout, on this machine.

    python bench/layouts.py --rounds 3 --steps 3

The 60M model of train_cpu.py (D 512, 8 layers, 8 heads, F 1536, V 32,000, T 512) in float32. Policies run in one
process on all cores, 4 sequences per pass; layouts in two processes that share the cores, 2 sequences per pass and
process that reads its own batches, 4 otherwise. Settings take turns, for several rounds; the best
round of each counts, because what other programs take is not the setting's, and the record has all of them.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from puna.config.load import save_recipe
from puna.config.recipe import ModelConfig, OptimConfig, ParallelConfig, Recipe, TrainConfig
from puna.core.files import write_json
from puna.core.records import commit, machine

HERE = Path(__file__).parent
MODEL = ModelConfig(dim=512, n_layers=8, n_heads=8, n_kv_heads=8, ffn_dim=1536, vocab_size=32_000, context=512)
POLICIES = ["none", "llama", "every-2", "full", "budget=0.5"]
LAYOUTS = [
    ("1 process", {}), ("2 shards", {}), ("2 replicas", {"replicate": 2}), ("2 tensor", {"tensor": 2}),
    ("2 context", {"context": 2}),
]  # fmt: skip


def settings() -> list[dict[str, Any]]:
    """What is measured: policies compiled and eager in one process, layouts compiled in two."""
    found = [
        {"kind": "policy", "name": policy, "compile": compiled, "processes": 1, "parallel": {}, "sequences": 4}
        for policy in POLICIES
        for compiled in (True, False)
        if compiled or not policy.startswith("budget")
    ]
    for name, parallel in LAYOUTS:
        processes = 1 if name == "1 process" else 2
        sequences = 2 if name in ("2 shards", "2 replicas") else 4
        found.append(
            {"kind": "layout", "name": name, "compile": True, "processes": processes, "parallel": parallel,
             "sequences": sequences}
        )  # fmt: skip
    return found


def run(setting: dict[str, Any], steps: int) -> dict[str, Any]:
    """The figures of one setting in one round."""
    micro = setting["sequences"] * MODEL.context
    policy = setting["name"] if setting["kind"] == "policy" else "none"
    recipe = Recipe(
        name="bench",
        model=MODEL,
        train=TrainConfig(
            tokens=64 * 2048, batch_tokens=2048, micro_batch_tokens=micro, precision="fp32", recompute=policy,
            compile=setting["compile"],
        ),
        parallel=ParallelConfig(**setting["parallel"]),
        optim=OptimConfig(warmup_steps=1),
    )  # fmt: skip
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.toml"
        save_recipe(recipe, config)
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(setting["processes"])]
        command = [sys.executable, *(launcher if setting["processes"] > 1 else [])]
        command += ["-m", "puna.train.measure", str(config), str(steps)]
        environment = os.environ | {"OMP_NUM_THREADS": str(max(1, cores // setting["processes"]))}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{setting} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Run the rounds and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3, help="counted steps per process")
    arguments = parser.parse_args()
    tried = settings()
    rounds = []
    for number in range(arguments.rounds):
        rounds.append([run(setting, arguments.steps) for setting in tried])
        print(f"round {number + 1} of {arguments.rounds} done", flush=True)
    rows = []
    for index, setting in enumerate(tried):
        rates = [one[index]["tokens_per_second"] for one in rounds]
        rows.append(
            setting
            | {
                "tokens_per_second": max(rates),
                "tokens_per_second_min_max": [min(rates), max(rates)],
                "peak_memory_bytes": statistics.median(one[index]["peak_memory_bytes"] for one in rounds),
                "first_step_seconds": statistics.median(one[index]["first_pass_seconds"] for one in rounds),
            }
        )
    now = datetime.now(UTC)
    record = {
        "schema": 1,
        "benchmark": "layouts",
        "what": "60M LLaMA (D 512, 8 layers, 8 heads, F 1536, V 32000), T 512, 2,048 tokens per step, fp32",
        "command": f"python bench/layouts.py --rounds {arguments.rounds} --steps {arguments.steps}",
        "commit": commit(),
        "date": now.isoformat(timespec="seconds"),
        "machine": machine(),
        "statistic": "tokens/s of the best round, medians of memory; rounds has all",
        "rows": rows,
        "rounds": rounds,
    }
    path = HERE / "results" / f"layouts_{now:%Y-%m-%d}.json"
    write_json(path, record)
    for row in rows:
        print(
            f"{row['name']:<12}{'compiled' if row['compile'] else 'eager':<9}{row['tokens_per_second']:7.0f} tokens/s  "
            f"{row['peak_memory_bytes'] / 2**30:5.2f} GiB"
        )
    print(f"record: bench/results/{path.name}")


if __name__ == "__main__":
    main()
