"""The guide's table of the demo's answers before and after its tuning, from the record of bench/format_following.py."""

from collections.abc import Callable
from typing import Any

Record = dict[str, Any]

WORDINGS = {"known": "in wordings that were learned, about other things", "other": "in other wordings"}
"""The kinds of wordings as the table names them."""


def table(newest: Callable[[str], Record], origin: Callable[[Record], str]) -> str:
    """Shares of answers that have their form, all of them, by wording and by form, and the loss of held-out answers.

    Args:
        newest: Finds the newest record of a benchmark.
        origin: Says where a record comes from.
    """
    record = newest("format_following")
    before, after = record["scores"]["before"], record["scores"]["after"]
    lines = ["| answers with the form that was asked for | n | before | after |", "|---|---:|---:|---:|"]
    rows = [("all", before["all"], after["all"])]
    rows += [(title, before["wordings"][name], after["wordings"][name]) for name, title in WORDINGS.items()]
    rows += [(name, figures, after["forms"][name]) for name, figures in before["forms"].items()]
    for name, *pair in rows:
        cells = [f"{one['share']:.0%} ({one['low']:.0%} to {one['high']:.0%})" for one in pair]
        lines.append(f"| {name} | {pair[0]['n']} | {' | '.join(cells)} |")
    losses = " | ".join(f"{loss:.3f}" for loss in record["tuning"]["heldout_loss"])
    lines.append(f"| loss of held-out answers, nats per token | | {losses} |")
    return "\n".join([*lines, "", f"<sub>{record['what']}.</sub><br>", origin(record)])
