"""The tables of docs/guide/evaluation-speed.md, from the records of bench/evaluate.py; bench/tables.py puts them in."""

import statistics
from collections.abc import Callable
from typing import Any

from puna.core.units import format_bytes, format_count

Record = dict[str, Any]


def beside(record: Record, origin: str) -> str:
    """Requests per second of both, the ratio, and how far their answers differ."""
    lines = [
        "| model | task | documents (lm-eval's) | requests | Puna, requests/s | lm-eval, requests/s | times "
        "| figures | answers |",
        "|---|---|---:|---:|---:|---:|---:|---|---|",
    ]
    for row in record["tasks"]:
        figures = "equal" if all(one == other for one, other in row["figures"].values()) else _figures(row["figures"])
        answers = (
            f"{row['equal_texts']} of {row['lm_eval_documents']} texts are equal"
            if "equal_texts" in row
            else f"log-probabilities differ by at most {row['largest_difference']:.0e}"
        )
        lines.append(
            f"| {row['model']} | {row['task']} | {row['documents']} ({row['lm_eval_documents']}) | {row['requests']} "
            f"| {row['puna_requests_per_second']:.2f} | {row['lm_eval_requests_per_second']:.2f} | {row['times']:.1f} "
            f"| {figures} | {answers} |"
        )
    return "\n".join([*lines, "", _models(record), "", origin])


def others(record: Record, origin: str) -> str:
    """The time to the first step, and memory by the number of requests."""
    (few, small), (many, large) = ((int(number), size) for number, size in record["memory_bytes"].items())
    lines = ["| what | figure |", "|---|---|"]
    lines += [
        f"| from the loaded model to the first computed step of HellaSwag (10,042 documents), {name} "
        f"| {statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f}) |"
        for name, seconds in record["start_seconds"].items()
    ]
    lines.append(
        f"| largest memory of a process that scores {few:,} pairs and writes {few // 10:,} texts "
        f"| {format_bytes(small)} |"
    )
    lines.append(f"| the same for {many:,} and {many // 10:,} | {format_bytes(large)} |")
    return "\n".join([*lines, "", origin])


def _figures(figures: dict[str, list[float]]) -> str:
    return ", ".join(f"{name.partition(',')[0]} {one:.4f} and {other:.4f}" for name, (one, other) in figures.items())


def _models(record: Record) -> str:
    parts = [
        f"{name} has {format_count(sizes['parameters'])} parameters and a context of {sizes['context']:,}"
        for name, sizes in record["models"].items()
    ]
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    return f"{'; '.join(parts)}. {record['threads']} threads; {versions}."


def tables(newest: Callable[[], Record], origin: Callable[[Record], str]) -> dict[str, Callable[[], str]]:
    """By name, functions that make them."""
    return {
        "evaluate": lambda: beside(newest(), origin(newest())),
        "evaluate_start": lambda: others(newest(), origin(newest())),
    }
