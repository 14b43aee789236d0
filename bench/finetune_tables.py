"""The guide's tables of instruction tuning; made here: that against pre-training, TRL and PEFT (bench/finetune.py)."""

from collections.abc import Callable
from typing import Any

import format_tables
import tuned_tables

Record = dict[str, Any]

NAMES = {
    "puna tune": "Puna, packed, documents masked",
    "puna tune unmasked": "the same without masks",
    "puna pretrain": "Puna, pre-training at the same shapes",
    "puna tune compiled": "Puna, packed, compiled",
    "puna pretrain compiled": "Puna, pre-training, compiled",
    "trl padded": "TRL 1.16, padded (its default)",
    "trl packed": "TRL 1.16, packed without padding",
}
"""What each row is."""


def tables(newest: Callable[[str], Record], origin: Callable[[Record], str]) -> dict[str, Callable[[], str]]:
    """What makes each of the tables, by its name; arguments as of `table`."""
    return {
        "finetune": lambda: table(newest, origin),
        "format_following": lambda: format_tables.table(newest, origin),
        "tuned_model": lambda: tuned_tables.table(newest, origin),
    }


def table(newest: Callable[[str], Record], origin: Callable[[Record], str]) -> str:
    """Rates and held-out losses of each system, and what masks and low-rank updates cost.

    Args:
        newest: Finds the newest record of a benchmark.
        origin: Says where a record comes from.
    """
    record = newest("finetune")
    lines = [
        "| | learned tokens/s | positions/s | held-out loss | Puna is faster by | compiled by |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    rows = {row["system"]: row for row in record["rows"]}
    for system, name in NAMES.items():
        if system in rows:
            row = rows[system]
            before, after = row["heldout_loss"]
            figures = [f"{row['target_tokens_per_second']:,.0f}", f"{row['tokens_per_second']:,.0f}"]
            figures.append("" if "pretrain" in system else f"{before:.4f} → {after:.4f}")
            for ours in ("puna tune", "puna tune compiled"):
                ratio = rows[ours]["target_tokens_per_second"] / row["target_tokens_per_second"]
                figures.append(f"{ratio:.2f} x" if system.startswith("trl") else "")
            lines.append(f"| {' | '.join([name, *figures])} |")
    shares = record["shares"]
    memory = {name: figures["step_bytes"] / 2**20 for name, figures in record["lora_memory"].items()}
    sentence = (
        f"Tuning goes at {shares['tuning_of_pretraining']:.0%} of pre-training's rate at the same shapes "
        f"({shares['tuning_of_pretraining_compiled']:.0%} compiled), with masks at {shares['masked_of_unmasked']:.0%} "
        "of the rate without. "
    )
    if "trl and peft" in memory:
        sentence += (
            f"A step with low-rank updates (rank 16, 4,096 tokens) takes {memory['puna']:,.0f} MiB beyond the "
            f"libraries, {memory['trl and peft']:,.0f} MiB with TRL and PEFT. "
        )
    return "\n".join([*lines, "", sentence + record["what"] + ".", "", origin(record)])
