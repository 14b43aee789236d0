"""The tables of docs/guide/serving-speed.md, from the record of bench/serve.py; bench/tables.py puts them in."""

from collections.abc import Callable
from typing import Any

from puna.core.units import format_bytes

Record = dict[str, Any]


def overhead(record: Record, origin: str) -> str:
    """The server beside its engine: what is lost in tokens per second, and what the first token waits longer."""
    rows = {
        (row["system"], row["weights"], row["threads"], row["clients"]): row
        for row in record["rows"]
        if row["section"] == "overhead"
    }
    lines = [
        "| weights | threads | clients | engine, tokens/s | server, tokens/s | overhead | engine, first token "
        "| server, first token | overhead |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for ratio in record["ratios"]:
        if ratio["section"] != "overhead":
            continue
        where = ratio["weights"], ratio["threads"], ratio["clients"]
        engine, server = rows["engine", *where], rows["puna", *where]
        lines.append(
            f"| {where[0]} | {where[1]} | {where[2]} | {engine['tokens_per_second']:.1f} "
            f"| {server['tokens_per_second']:.1f} | {_more(ratio, 'tokens_per_second')} "
            f"| {_milliseconds(engine['first_seconds'])} | {_milliseconds(server['first_seconds'])} "
            f"| {_more(ratio, 'first_token')} |"
        )
    return "\n".join([*lines, "", origin])


def _more(ratio: dict[str, Any], what: str) -> str:
    """By how much more time the server takes, and from which to which in the rounds."""
    worst, best = ratio[f"{what}_min_max"]
    return f"{1 / ratio[what] - 1:+.1%} ({1 / best - 1:+.1%} to {1 / worst - 1:+.1%})"


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms"


def peers(record: Record, origin: str) -> str:
    """Servers side by side; behind a peer's rate, how many times faster ours is on weights of as many bits."""
    times = {(one["section"], one["over"], one["clients"]): one for one in record["ratios"]}
    lines = [
        "| clients | server | tokens/s | range | Puna is faster by | first token, median | Puna's is sooner by |",
        "|---:|---|---:|---:|---:|---:|---:|",
    ]
    for row in sorted((row for row in record["rows"] if row["section"] == "peers"), key=lambda row: row["clients"]):
        title = f"{row['system']} {row['weights']}"
        ratio = times.get(("peers", title, row["clients"]))
        faster, sooner = (f"{ratio[key]:.2f} x" if ratio else "" for key in ("tokens_per_second", "first_token"))
        shown = f"**{title}**" if row["system"] == "puna" else title
        lines.append(
            f"| {row['clients']} | {shown} | {row['tokens_per_second']:.1f} "
            f"| {min(row['rounds']):.1f} to {max(row['rounds']):.1f} | {faster} "
            f"| {_milliseconds(row['first_seconds'])} | {sooner} |"
        )
    return "\n".join([*lines, "", _systems(record), "", origin])


def mixed(record: Record, origin: str) -> str:
    """The first token under a mixed load."""
    lines = [
        "| server | tokens/s | first token, median | 99 of 100 have it within | requests | start | memory |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in record["rows"]:
        if row["section"] == "mixed":
            title = f"{row['system']} {row['weights']}"
            lines.append(
                f"| {f'**{title}**' if row['system'] == 'puna' else title} | {row['tokens_per_second']:.1f} "
                f"| {_milliseconds(row['first_seconds'])} | {_milliseconds(row['first_seconds_p99'])} "
                f"| {row['requests']} | {row['start_seconds']:.1f} s | {format_bytes(row['memory_bytes'])} |"
            )
    return "\n".join([*lines, "", origin])


def guided(record: Record, origin: str) -> str:
    """What a regular expression costs a token."""
    lines = ["| clients | plain, tokens/s | guided, tokens/s | a token takes longer by |", "|---:|---:|---:|---:|"]
    rates: dict[int, dict[str, float]] = {}
    for row in record["rows"]:
        if row["section"] in ("plain", "guided"):
            rates.setdefault(row["clients"], {})[row["section"]] = row["tokens_per_second"]
    for clients, of in rates.items():
        longer = 1000 * (1 / of["guided"] - 1 / of["plain"])
        lines.append(f"| {clients} | {of['plain']:.1f} | {of['guided']:.1f} | {longer:.2f} ms |")
    again = [part for part in record.get("later", ()) if "guided" in part["sections"]]
    if again:
        part = again[-1]
        lines += [
            "",
            f"<sub>`{part['command']}`, commit {part['commit'][:10]}, {part['date'][:10]}, into the record of</sub>",
        ]
    return "\n".join([*lines, "", origin])


def _systems(record: Record) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    return (
        f"<sub>{record['model']['name']}, {record['model']['parameters']:,} parameters; {record['what']}. llama.cpp: "
        f"{record['llama.cpp']}; vLLM: {record['vllm']}; {versions}.</sub>"
    )


PARTS = {"serve_overhead": overhead, "serve_peers": peers, "serve_mixed": mixed, "serve_guided": guided}


def tables(newest: Callable[[], Record], origin: Callable[[Record], str]) -> dict[str, Callable[[], str]]:
    """By name, functions that make them."""

    def table(part: Callable[[Record, str], str]) -> Callable[[], str]:
        return lambda: part(newest(), origin(newest()))

    return {name: table(part) for name, part in PARTS.items()}
