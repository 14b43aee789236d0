"""The tables of docs/guide/inference-speed.md, from the records of bench/decode.py; bench/tables.py puts them in."""

import statistics
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from puna.core.units import format_count

Record = dict[str, Any]
COLUMNS = (
    ("puna", "float32"), ("llama.cpp", "F32"), ("transformers", "float32"), ("vllm", "float32"),
    ("puna", "int8"), ("llama.cpp", "Q8_0"), ("puna", "int4"), ("llama.cpp", "Q4_0"),
)  # fmt: skip
HEADS = ("Puna fp32", "F32", "transformers", "vLLM", "Puna int8", "Q8_0", "Puna int4", "Q4_0")
BESIDE = {
    ("llama.cpp", "F32"): "float32", ("llama.cpp", "Q8_0"): "int8", ("llama.cpp", "Q4_0"): "int4",
    ("transformers", "float32"): "float32", ("vllm", "float32"): "float32",
}  # fmt: skip
"""Which of ours a peer's figure is put beside."""
CODE = {"AVX512": "code for AVX-512", "AVX2": "code for AVX2"}


def turns(record: Record) -> str:
    """Tokens/s of every system; after a peer's, how many times faster we are."""
    groups: dict[tuple[str, str, int, str], dict[tuple[str, str], float]] = defaultdict(dict)
    for row in record["rows"]:
        where = row["code"], row["model"], row["threads"], row["task"]
        groups[where][row["system"], row["weights"]] = row["tokens_per_second"]
    times = {
        (one["code"], one["model"], one["threads"], one["task"], one["over"], one["weights"]): one["ratio"]
        for one in record["ratios"]
    }
    parts = []
    for code in dict.fromkeys(row["code"] for row in record["rows"]):
        lines = []
        for where, rates in groups.items():
            if where[0] != code:
                continue
            cells = [_cell(where, column, rates, times) for column in COLUMNS]
            lines.append(f"| {where[1]}, {where[2]} | {where[3]} | {' | '.join(cells)} |")
        head = (
            f"| tokens/s, {CODE[code]}: model, threads | task | {' | '.join(HEADS)} |\n|---|---|{'---:|' * len(HEADS)}"
        )
        parts.append("\n".join([head, *lines]))
    return "\n\n".join(parts)


def _cell(
    where: tuple[str, str, int, str],
    column: tuple[str, str],
    rates: dict[tuple[str, str], float],
    times: dict[Any, float],
) -> str:
    rate = rates.get(column)
    if rate is None:
        return ""
    shown = f"{rate:.1f}" if rate < 10 else f"{rate:.0f}"
    if column[0] == "puna":
        return f"**{shown}**"
    return f"{shown} ({times[(*where, ' '.join(column), BESIDE[column])]:.2f} x)"


def missed(record: Record) -> str:
    """What was aimed at and not reached, with what bounds it here."""
    aimed = [one for one in record["ratios"] if one["target"] is not None]
    lines = [
        f"| {one['model']}, {CODE[one['code']]}, threads {one['threads']} | {one['task']} | {one['weights']} over "
        f"{one['over']} | {one['target']:g} x | {one['ratio']:.2f} x | {one['min_max'][0]:.2f} to "
        f"{one['min_max'][1]:.2f} |"
        for one in aimed
        if not one["met"]
    ]
    head = "| | task | | aimed at | reached | range |\n|---|---|---|---:|---:|---:|"
    met = f"{len(aimed) - len(lines)} of {len(aimed)} were reached; these were not:"
    return "\n".join([met, "", head, *lines]) if lines else f"All {len(aimed)} were reached."


def bounds(record: Record) -> str:
    """How near decoding comes to a plain read of memory, and prompts and many requests in float32 to sgemm."""
    lines = []
    seen: dict[int, list[Record]] = defaultdict(list)
    for row in record["rows"]:
        if row["code"] != record["instructions"] or row["system"] not in ("puna", "llama.cpp"):
            continue
        flops, seen[row["threads"]] = row["flops_per_token"], seen[row["threads"]] + row["machine"]
        if row["task"] == "decode":
            each, unit, rate, what = row["weight_bytes"], "B", "read_bytes_per_second", "a plain read"
        elif flops and row["weights"] in ("float32", "F32"):
            each, unit, rate, what = flops, "FLOP", "flops", "sgemm"
        else:
            continue
        share = statistics.median(
            each * tokens / machine[rate] for tokens, machine in zip(row["rounds"], row["machine"], strict=True)
        )
        lines.append(
            f"| {row['model']}, {row['threads']} | {row['task']} | {row['system']} {row['weights']} | "
            f"{row['tokens_per_second']:.0f} | {each / 1e6:.0f} M{unit} | "
            f"{each * row['tokens_per_second'] / 1e9:.1f} G{unit}/s | {share:.0%} of {what} |"
        )
    head = "| model, threads | task | | tokens/s | each takes | together | which is |\n"
    head += "|---|---|---|---:|---:|---:|---:|"
    here = "; ".join(
        f"threads {threads}: {_range(found, 'read_bytes_per_second')} GB/s of a plain read, "
        f"{_range(found, 'flops')} GFLOP/s of sgemm"
        for threads, found in seen.items()
    )
    return "\n".join([head, *lines, "", f"<sub>Measured at the beginning of every round; {here}.</sub>"])


def _range(found: list[Record], rate: str) -> str:
    numbers = sorted(one[rate] / 1e9 for one in found)
    return f"{numbers[0]:.0f} to {numbers[-1]:.0f}"


def guesses(record: Record) -> str:
    """Speculation."""
    lines = [
        f"| {row['text']} | {row['guesses']} | {row['tokens_per_second']:.0f} | {_share(row)} | "
        f"{'yes' if row['same_text'] else 'no'} |"
        for row in record["speculation"]
    ]
    head = "| text | guesses | tokens/s | right | same text |\n|---|---|---:|---:|---|"
    return "\n".join([head, *lines])


def _share(row: Record) -> str:
    return f"{row['accepted']} of {row['proposed']}" if row["proposed"] else ""


def bits(record: Record) -> str:
    """PyTorch's bits by company."""
    found = record["bits"]
    lines = []
    for threads, shapes in found["linear"].items():
        for shape, classes in shapes.items():
            tried = sorted(number for numbers in classes for number in numbers)
            groups = "; ".join(_spans(numbers, tried) for numbers in classes)
            lines.append(f"| `F.linear`, {shape}, threads {threads} | {len(classes)} | {groups} |")
    for threads, differing in found["attention"].items():
        lines.append(
            f"| attention, threads {threads} | | {differing} of 64 prompts end with other bits than one row alone |"
        )
    for row in found["one_by_one"]:
        held = "invariant" if row["exact"] else "not invariant"
        lines.append(
            f"| 134M by operators, rows {row['rows']}, {row['batch']} at once | | "
            f"{row['tokens_per_second']:.0f} tokens/s, {held} |"
        )
    head = "| PyTorch's operators | classes of bits | numbers of rows with equal bits |\n|---|---:|---|"
    return "\n".join([head, *lines])


def _spans(numbers: list[int], tried: list[int]) -> str:
    """The numbers of one class, those that follow each other among what was tried as a span."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and tried.index(number) == tried.index(spans[-1][-1]) + 1:
            spans[-1].append(number)
        else:
            spans.append([number])
    return ", ".join(str(span[0]) if len(span) == 1 else f"{span[0]} to {span[-1]}" for span in spans)


def start(record: Record) -> str:
    """Time from the command to its end."""
    found = record["start"]
    seconds = found["seconds"]
    return (
        f"`puna generate` of one token with a model of {format_count(record['models'][found['model']]['parameters'])} "
        f"takes {seconds['puna generate']:.2f} s, `import torch` {seconds['import torch']:.2f} s: {found['ratio']:.2f} "
        f"times as long (aimed at {found['target']:g})."
    )


PARTS: dict[str, Callable[[Record], str]] = {
    "turns": turns,
    "missed": missed,
    "bounds": bounds,
    "guesses": guesses,
    "bits": bits,
    "start": start,
}


def tables(records: Callable[[], list[Record]], origin: Callable[[Record], str]) -> dict[str, Callable[[], str]]:
    """Every table by its name in a page; each has the newest record of every processor."""

    def made(part: Callable[[Record], str]) -> Callable[[], str]:
        return lambda: "\n\n".join(
            f"**{record['machine']['processor']}**\n\n{part(record)}\n\n{origin(record)}" for record in records()
        )

    return {f"decode_{name}": made(part) for name, part in PARTS.items()}
