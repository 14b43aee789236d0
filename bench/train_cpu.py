"""Training on a CPU against transformers, litgpt and OpenLM: tokens/s, peak memory, share of the machine's sgemm rate.

Each system runs in a process of its own, with the Python that has it; the systems take turns, eager and compiled, for
several rounds, so that a machine whose speed drifts treats all alike. Ratios are taken within a round, then their
median.

    python bench/train_cpu.py --litgpt-python /path/to/venv/bin/python --open-lm-python ... --rounds 3

litgpt needs a virtual environment of its own (`pip install torch==2.13.0 litgpt==0.5.13`); so does OpenLM (its
repository at 9bb92ef, torch and huggingface_hub). What has no environment is left out and the record says so.

The record goes to bench/results/, or where --record says, one per processor and instruction set. Nothing else is
written below this folder, so that it may be read-only.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from puna.config.recipe import ModelConfig
from puna.core.files import write_json
from puna.core.records import commit, machine
from puna.plan.count import flops_per_token

HERE = Path(__file__).parent
CONFIG = ModelConfig(dim=512, n_layers=8, n_heads=8, n_kv_heads=8, ffn_dim=1536, vocab_size=32_000, context=512)


def run(python: str, system: str, compiled: bool, steps: int) -> dict[str, Any]:
    """The figures of one system in one round."""
    command = [python, str(HERE / "peer_step.py"), system, "--steps", str(steps), *(["--compiled"] if compiled else [])]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{result.stderr[-2000:]}")
    return json.loads(result.stdout.splitlines()[-1])


def summarize(rounds: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """One row per system and mode: medians over rounds, spread, and the lead of Puna compiled within each round."""
    flops = flops_per_token(CONFIG, CONFIG.context)["causal"]

    def share(result: dict[str, Any]) -> float:
        pairs = zip(result["tokens_per_second"], result["sgemm_flops"], strict=True)
        return statistics.median(rate * flops / sgemm for rate, sgemm in pairs)

    ours = [share(next(r for r in one if r["system"] == "puna" and r["compiled"])) for one in rounds]
    rows = []
    for index, first in enumerate(rounds[0]):
        results = [one[index] for one in rounds]
        rates = [result["median_tokens_per_second"] for result in results]
        shares = [share(result) for result in results]
        rows.append(
            {
                "system": first["system"],
                "mode": "compiled" if first["compiled"] else "eager",
                "tokens_per_second": statistics.median(rates),
                "tokens_per_second_min_max": [min(rates), max(rates)],
                "puna_compiled_is_faster_by": statistics.median(o / s for o, s in zip(ours, shares, strict=True)),
                "peak_memory_bytes": statistics.median(result["peak_memory_bytes"] for result in results),
                "share_of_sgemm": statistics.median(shares),
                "share_of_sgemm_min_max": [min(shares), max(shares)],
                "first_step_seconds": statistics.median(result["first_step_seconds"] for result in results),
            }
        )
    return rows


def main() -> None:
    """Run the rounds and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--litgpt-python", help="the Python of an environment that has litgpt")
    parser.add_argument("--open-lm-python", help="the Python of an environment that has OpenLM")
    parser.add_argument("--record", type=Path, help="the record's file; default: bench/results/, by processor and date")
    parser.add_argument("--note", default="", help="what to know of the processor, such as that it was restricted")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4, help="counted steps per process")
    arguments = parser.parse_args()
    systems = [("puna", sys.executable), ("transformers", sys.executable)]
    peers = {"litgpt": arguments.litgpt_python, "open_lm": arguments.open_lm_python}
    systems += [(name, python) for name, python in peers.items() if python]
    rounds = []
    for number in range(arguments.rounds):
        results = []
        for compiled in (True, False):
            for system, python in systems:
                results.append(run(python, system, compiled, arguments.steps))
                rate, sgemm = results[-1]["median_tokens_per_second"], statistics.median(results[-1]["sgemm_flops"])
                print(
                    f"round {number + 1}: {system} {'compiled' if compiled else 'eager'} {rate:.0f} tokens/s, "
                    f"sgemm {sgemm / 1e9:.0f} GFLOP/s beside it",
                    flush=True,
                )
        rounds.append(results)
    now = datetime.now(UTC)
    record = {
        "schema": 2,
        "benchmark": "train_cpu",
        "what": "60M LLaMA (D 512, 8 layers, 8 heads, F 1536, V 32000), T 512, 8 sequences, fp32, AdamW, clip 1.0",
        "command": "python bench/train_cpu.py "
        + "".join(f"--{name.replace('_', '-')}-python PYTHON " for name, python in peers.items() if python)
        + f"--rounds {arguments.rounds} --steps {arguments.steps}",
        "commit": commit(),
        "date": now.isoformat(timespec="seconds"),
        "machine": machine(),
        "instructions": rounds[0][0]["instructions"],
        "note": arguments.note,
        **{name: "measured" if python else "not measured: no environment was given" for name, python in peers.items()},
        "flops_convention": "6 x matrix parameters + 6 L D T per token (causal attention)",
        "rows": summarize(rounds),
        "rounds": rounds,
    }
    family = f"{record['machine']['processor']} {record['instructions']}".lower()
    name = "-".join(re.findall(r"[a-z0-9]+", re.sub(r"\((r|tm)\)|processor", "", family)))
    path = arguments.record or HERE / "results" / f"train_cpu_{name}_{now:%Y-%m-%d}.json"
    write_json(path, record)
    for row in record["rows"]:
        print(
            f"{row['system']:<13}{row['mode']:<9}{row['tokens_per_second']:7.0f} tokens/s  "
            f"{row['peak_memory_bytes'] / 2**30:5.2f} GiB  "
            f"{row['share_of_sgemm']:4.0%} of sgemm  Puna x {row['puna_compiled_is_faster_by']:.2f}"
        )
    print(f"record: {path}")


if __name__ == "__main__":
    main()
