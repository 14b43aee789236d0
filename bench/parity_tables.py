"""The parity matrix as a table, from the records of bench/parity.py."""

from collections.abc import Callable
from typing import Any

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
        apart = (
            f"{real['largest_likelihood_difference']:.0e} of {real['likelihoods']}" if "likelihoods" in real else "–"  # noqa: RUF001
        )
        lines.append(
            f"| `{line['task']}` | {line['documents']:,} | {_share(line, 'requests')} | {_share(line, 'values')} | "
            f"{line.get('largest_difference', 0.0):.0e} | {apart} |".replace(" 0e+00 |", " 0 |")
        )
    lines += [
        "",
        f"lm_eval {texts['lm_eval']}. Columns 2 to 5 are with a made-up model, the last with {model['model']}, the first "
        f"{model['documents']} documents of a task (of each of two subjects of MMLU), in float32: Puna's engine against "
        "transformers; every continuation that is greedy there is greedy here.",
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
    if not all_of_them:
        return "–"  # noqa: RUF001
    return f"all {equal:,}" if equal == all_of_them else f"{equal:,} of {all_of_them:,}"
