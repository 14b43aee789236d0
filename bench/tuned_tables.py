"""The guide's table of a small chat model before and after its tuning, from the record of bench/tuned_model.py."""

from collections.abc import Callable
from typing import Any

Record = dict[str, Any]

JUDGED = {"form": "the form that was asked for", "right": "right"}
"""What is judged of an answer, as the table names it."""


def table(newest: Callable[[str], Record], origin: Callable[[Record], str]) -> str:
    """Shares of answers with their form and of right ones, a benchmark's, and the losses of held-out answers.

    Args:
        newest: Finds the newest record of a benchmark.
        origin: Says where a record comes from.
    """
    record = newest("tuned_model")
    lines = ["| SmolLM2-135M-Instruct | n | before | after | difference |", "|---|---:|---:|---:|---:|"]
    for kind in record["asked"]:
        lines += [_row(f"{kind['title']}: {name}", kind[what], "before", "after") for what, name in JUDGED.items()]
    lines += [
        _row(f"`{one['task']}`, {one['metric']}, not as a chat", one, "first", "second") for one in record["suite"]
    ]
    for source, (before, after) in record["heldout_loss"].items():
        lines.append(f"| held-out answers of `{source}`, nats per token | | {before:.3f} | {after:.3f} | |")
    tuning = record["tuning"]
    sentence = (
        f"Tuned for {tuning['steps']} steps of "
        f"{tuning['tokens'] // tuning['steps']:,} tokens, in {tuning['sessions']} sessions; {record['what']}."
    )
    return "\n".join([*lines, "", f"<sub>{sentence}</sub><br>", origin(record)])


def _row(name: str, one: Record, first: str, second: str) -> str:
    before, after = one[first], one[second]
    difference = f"{100 * (after - before):+.1f}"
    if one["more"] or one["less"]:  # else no two answers differ, and the interval would have no width
        difference += f" ({100 * one['low']:+.1f} to {100 * one['high']:+.1f})"
    return f"| {name} | {one['n']} | {before:.1%} | {after:.1%} | {difference} |"
