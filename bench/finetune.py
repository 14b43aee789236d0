"""Instruction tuning against pre-training at equal shapes, and against TRL and PEFT: rates, losses, memory.

Each system runs in a process of its own, with the Python that has it; all begin with the same weights, learn from the
same conversations (median 150 tokens, some 500) with the same AdamW in float32, and are asked for the loss on the same
held-out ones. Puna's kinds of steps take turns within one process; the systems take turns over several rounds.

    python bench/finetune.py --trl-python /path/to/venv/bin/python --rounds 2

TRL needs a virtual environment of its own (`pip install torch==2.13.0 trl==1.16.0 peft==0.21.2`); without one it is
left out and the record says so. TRL runs in two ways: `padded`, its default, 8 conversations a pass, each padded to the
longest; and `packed`, best-fit packs of 512 tokens without padding, one a pass.

The record goes to bench/results/, or where --record says.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from puna.core.files import write_json
from puna.core.records import commit, machine

HERE = Path(__file__).parent
EAGER, COMPILED = ["pretrain", "tune", "tune unmasked"], ["pretrain compiled", "tune compiled"]
FULL = ["--full", "--examples", "32", "--steps", "3"]
"""For memory: sequences without padding, so that both systems compute the same shapes."""


def run(python: str, system: str, *arguments: str) -> dict[str, Any]:
    """The figures of one process by the kind of its steps."""
    # Without its folder in the path: a module there has the name of a package that transformers looks for.
    command = [python, "-P", str(HERE / "finetune_step.py"), system, *arguments]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if result.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{result.stderr[-2000:]}")
    found = json.loads(result.stdout.splitlines()[-1])
    for kind, figures in found["figures"].items():
        print(
            f"{system} {kind}: {figures['target_tokens_per_second']:.0f} target tokens/s, "
            f"{figures['tokens_per_second']:.0f} tokens/s, sgemm {statistics.mean(figures['sgemm_flops']) / 1e9:.0f} "
            f"GFLOP/s, held-out {figures['heldout'][0]:.4f} -> {figures['heldout'][1]:.4f}",
            flush=True,
        )
    return {f"{system} {kind}": figures for kind, figures in found["figures"].items()}


def summarize(rounds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per system and kind: medians over rounds, and how much faster Puna's tuning learns within each round."""
    rows = []
    for name in dict.fromkeys(name for one in rounds for name in one):
        found = [one for one in rounds if name in one]
        rates = [one[name]["target_tokens_per_second"] for one in found]
        rows.append(
            {
                "system": name,
                "target_tokens_per_second": statistics.median(rates),
                "target_tokens_per_second_min_max": [min(rates), max(rates)],
                "tokens_per_second": statistics.median(one[name]["tokens_per_second"] for one in found),
                "puna_tune_learns_faster_by": statistics.median(
                    one["puna tune"]["target_tokens_per_second"] / one[name]["target_tokens_per_second"]
                    for one in found
                    if "puna tune" in one
                ),
                "heldout_loss": [statistics.median(one[name]["heldout"][at] for one in found) for at in (0, 1)],
                "peak_memory_bytes": statistics.median(one[name]["peak_memory_bytes"] for one in found),
            }
        )
    return rows


def shares(rounds: list[dict[str, Any]]) -> dict[str, float]:
    """Rates of positions as shares, each within one process, step by step, which took turns."""

    def share(ours: str, theirs: str) -> float:
        pairs = [
            before / after
            for one in rounds
            if ours in one
            for before, after in zip(one[theirs]["seconds"][1:], one[ours]["seconds"][1:], strict=True)
        ]
        return statistics.median(pairs)

    return {
        "tuning_of_pretraining": share("puna tune", "puna pretrain"),
        "tuning_of_pretraining_compiled": share("puna tune compiled", "puna pretrain compiled"),
        "masked_of_unmasked": share("puna tune", "puna tune unmasked"),
    }


def memory(figures: dict[str, Any]) -> dict[str, float]:
    """What the process held before the model was built, at most, and the difference: model, state and step."""
    before, peak = figures["memory_before_bytes"], figures["peak_memory_bytes"]
    return {"before_bytes": before, "peak_bytes": peak, "step_bytes": peak - before}


def main() -> None:
    """Run the rounds and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trl-python", help="the Python of an environment that has TRL and PEFT")
    parser.add_argument("--record", type=Path, help="the record's file; default: bench/results/, by date")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, help="of each process; default: one for each core")
    parser.add_argument("--examples", type=int, default=160, help="conversations that each system learns from, once")
    arguments = parser.parse_args()
    if arguments.threads:
        os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    rounds: list[dict[str, Any]] = []
    size = ["--examples", str(arguments.examples)]
    for number in range(arguments.rounds):
        one = run(sys.executable, "puna", *EAGER, *size)
        if number == 0:
            one |= run(sys.executable, "puna", *COMPILED, *size)
        for kind in ("padded", "packed") if arguments.trl_python else ():
            one |= run(arguments.trl_python, "trl", kind, *size)
        rounds.append(one)
    tuned = {"puna": run(sys.executable, "puna", "lora", *FULL)["puna lora"]}
    if arguments.trl_python:
        tuned["trl and peft"] = run(arguments.trl_python, "trl", "lora", *FULL)["trl lora"]
    now = datetime.now(UTC)
    record = {
        "schema": 1,
        "benchmark": "finetune",
        "what": "14M LLaMA (D 384, 6 layers, 6 heads, F 1024, V 4096), T 512, 8 packs or 32 conversations a batch, "
        "fp32, AdamW, clip 1.0; memory: LoRA of rank 16 on all linear layers, 8 x 512 tokens a pass",
        "command": "python bench/finetune.py "
        + ("--trl-python PYTHON " if arguments.trl_python else "")
        + f"--rounds {arguments.rounds} --examples {arguments.examples}"
        + (f" --threads {arguments.threads}" if arguments.threads else ""),
        "commit": commit(),
        "date": now.isoformat(timespec="seconds"),
        "machine": machine(),
        "trl": "measured" if arguments.trl_python else "not measured: no environment was given",
        "rows": summarize(rounds),
        "shares": shares(rounds),
        "lora_memory": {name: memory(figures) for name, figures in tuned.items()},
        "rounds": rounds,
        "lora": tuned,
    }
    path = arguments.record or HERE / "results" / f"finetune_{now:%Y-%m-%d}.json"
    write_json(path, record)
    for row in record["rows"]:
        print(
            f"{row['system']:<24}{row['target_tokens_per_second']:7.0f} target tokens/s  "
            f"{row['tokens_per_second']:7.0f} tokens/s  held-out {row['heldout_loss'][1]:.4f}  "
            f"Puna x {row['puna_tune_learns_faster_by']:.2f}"
        )
    print(json.dumps(record["shares"]), json.dumps(record["lora_memory"]), f"record: {path}", sep="\n")


if __name__ == "__main__":
    main()
