"""The parity matrix as a table, from the records of bench/parity.py."""

from collections.abc import Callable
from typing import Any

from puna.core.units import format_count

Newest = Callable[[str], dict[str, Any]]


def table(newest: Newest, origin: Callable[[dict[str, Any]], str]) -> str:
    """Each task's requests, values and log-likelihoods beside the harness's.

    Args:
        newest: The newest record of a benchmark.
        origin: Where a record comes from, in one line.
    """
    texts, model = newest("parity_texts"), newest("parity_model")
    of_model = {line["task"]: line for line in model["tasks"]}
    lines = [
        "| task | documents | requests equal | values equal | figures apart | log-likelihoods apart |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    missing = []
    for line in texts["tasks"]:
        if "missing" in line:
            missing.append(f"`{line['task']}`")
            continue
        real = of_model.get(line["task"], {})
        apart = f"{real['largest_likelihood_difference']:.0e} of {real['likelihoods']}" if "likelihoods" in real else ""
        figures = f"{line['largest_difference']:.0e}" if "largest_difference" in line else "0"
        lines.append(
            f"| `{line['task']}` | {line['documents']:,} | {_share(line, 'requests')} | {_share(line, 'values')} | "
            f"{figures} | {apart} |"
        )
    greedy = all(line.get("greedy_equal") == line.get("likelihoods") for line in model["tasks"])
    lines += [
        "",
        f"lm_eval {texts['lm_eval']}. Columns 2 to 5 are with a made-up model on the first {texts['documents']} "
        f"documents of each task, and of each subject of MMLU a tenth of that. The last column is with a model of "
        f"{format_count(model['parameters'])} parameters, on {model['documents']} documents, in float32; "
        + ("what is greedy on one side is greedy on the other." if greedy else "some are greedy on one side only."),
        "",
        f"Not compared, since their data is not on this machine: {', '.join(missing)}.",
        "",
        origin(texts),
        "",
        origin(model),
    ]
    return "\n".join(lines)


def _share(line: dict[str, Any], what: str) -> str:
    """How many of them are equal: one number where all are."""
    all_of_them, equal = line.get(what, 0), line.get(f"{what}_equal", 0)
    return f"all {equal:,}" if equal == all_of_them else f"{equal:,} of {all_of_them:,}"
