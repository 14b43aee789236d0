"""Minutes of mixed load on `puna serve`: no request is lost, greedy texts stay what they are, and memory stays flat.

    python bench/soak.py [MODEL]

Without a model it is a small one with random weights and ChatML's template, which answers at once: what is tried is the
server, by as many requests as it takes.

Clients of two keys ask in a closed loop, each time for something else: streamed chats, greedy completions, prompts
that fill most of the context, JSON by a schema, and malformed bodies; some hang up in the middle. Beside them,
processes of clients with open streams are killed (SIGKILL). A request is lost if it ends in another way than its kind
should: an answer that is not whole, a text that differs from that of the same request alone, JSON that is not by the
schema, an error of the server. Memory is that of all processes of the server (PSS), every few seconds, after prompts
have filled the cache of prefixes, whose memory the system gives when it is first written.

The record goes to bench/results/. --seconds takes another time.
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema

from puna.core.console import say
from puna.core.files import write_json
from puna.core.records import commit, machine
from puna.core.version import VERSION

RESULTS = Path(__file__).parent / "results"
KEYS = {"alice": "a-key-of-the-soak-1", "bob": "a-key-of-the-soak-2"}
PROMPTS = ["The capital of France is", "Once upon a time", "def fibonacci(n):", "Water boils at"]
SCHEMA = {
    "type": "object", "properties": {"name": {"enum": ["heron", "lantern"]}, "count": {"type": "integer"}},
    "required": ["name", "count"], "additionalProperties": False,
}  # fmt: skip
KINDS = {"chat": 6, "completion": 6, "long": 2, "json": 3, "hang up": 4, "malformed": 2}
"""How often each kind comes among the others."""
CLIENTS = 16
PATIENCE_S = 300.0
SAMPLE_S, KILL_S = 5.0, 7.0
WARM_UP = 0.2
"""The part of the time after which memory should not grow: buffers are full then."""
FULL_MIB, FILL_ROUNDS = 1.0, 200
"""The cache is full where three rounds of long prompts, one of each client, add less than this."""
KILLED = """
import socket, sys, time
host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
request = sys.stdin.buffer.read()
held = [socket.create_connection((host, port)) for _ in range(count)]
for connection in held:
    connection.sendall(request)
for connection in held:
    connection.recv(1)
print("streams", flush=True)
time.sleep(600)
"""
"""A client that opens streams, says so, and waits to be killed."""


@dataclass
class Soak:
    """One server under load, and what came of it."""

    port: int
    pid: int
    context: int
    rng: random.Random = field(default_factory=lambda: random.Random(0))
    done: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    first_s: list[float] = field(default_factory=list)
    """Seconds until the first event of streamed chats."""
    memory: list[tuple[float, float]] = field(default_factory=list)
    """Seconds since the beginning, and MiB."""
    whole_json: int = 0
    """Answers by the schema that were not cut by their length."""
    filled_with: int = 0
    """Long prompts until the cache was full."""
    alone: dict[str, str] = field(default_factory=dict)
    """What the model writes after each prompt when nobody else asks."""

    def request(self, path: str, body: dict[str, Any] | bytes, key: str | None = None) -> bytes:
        """A request as bytes, from a caller that is drawn."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        bearer = key or self.rng.choice(list(KEYS.values()))
        lines = [
            f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", "Connection: close",
            f"Authorization: Bearer {bearer}", f"Content-Length: {len(content)}", "", "",
        ]  # fmt: skip
        return "\r\n".join(lines).encode() + content

    async def answer(self, sent: bytes, leave_after: int | None = None) -> tuple[int, bytes, float]:
        """Status and body of an answer, and the seconds until its first byte of content.

        Args:
            sent: A whole request.
            leave_after: Hang up after this many reads.
        """
        began = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            async with asyncio.timeout(PATIENCE_S):
                writer.write(sent)
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                body, first, reads = b"", 0.0, 0
                while piece := await reader.read(1 << 16):
                    first = first or time.perf_counter() - began
                    body += piece
                    reads += 1
                    if leave_after is not None and reads >= leave_after:
                        writer.transport.abort()
                        break
        finally:
            writer.close()
        if b"transfer-encoding: chunked" in head and leave_after is None:
            body = _joined(body)
        return int(head.split()[1]), body, first

    async def chat(self) -> str | None:
        """A streamed conversation."""
        messages = [{"role": "user", "content": f"{self.rng.choice(PROMPTS)} {self.rng.randrange(1000)}"}]
        fields = {"messages": messages, "max_tokens": self.rng.randint(4, 32), "stream": True}
        sent = self.request("/v1/chat/completions", fields | {"stream_options": {"include_usage": True}})
        status, body, first = await self.answer(sent)
        if status != 200 or not body.endswith(b"data: [DONE]\n\n"):
            return f"{status}: {body[-200:]!r}"
        self.first_s.append(first)
        events = [json.loads(line[6:]) for line in body.splitlines() if line.startswith(b"data: {")]
        reasons = [choice["finish_reason"] for event in events for choice in event["choices"]]
        whole = [reason for reason in reasons if reason] in (["stop"], ["length"]) and events[-1]["usage"]
        return None if whole else f"no end: {body[-300:]!r}"

    async def completion(self) -> str | None:
        """A greedy text, which is the same whoever else asks."""
        prompt = self.rng.choice(PROMPTS)
        status, body, _ = await self.answer(self._greedy(prompt))
        if status != 200:
            return f"{status}: {body[:200]!r}"
        text = json.loads(body)["choices"][0]["text"]
        return None if text == self.alone[prompt] else f"{text!r} instead of {self.alone[prompt]!r}"

    def _greedy(self, prompt: str) -> bytes:
        return self.request("/v1/completions", {"prompt": prompt, "max_tokens": 24, "temperature": 0})

    async def long(self) -> str | None:
        """A prompt that fills most of the context, or a thousand tokens."""
        length = min(self.context * 3 // 4, 1000)
        prompt = [self.rng.randrange(100, 200) for _ in range(length)]
        status, body, _ = await self.answer(self.request("/v1/completions", {"prompt": prompt, "max_tokens": 4}))
        if status != 200:
            return f"{status}: {body[:200]!r}"
        counted = json.loads(body)["usage"]["prompt_tokens"]
        return None if counted == length else f"{counted} tokens of {length}"

    async def json(self) -> str | None:
        """JSON by a schema."""
        form = {"type": "json_schema", "json_schema": {"name": "bird", "strict": True, "schema": SCHEMA}}
        messages = [{"role": "user", "content": f"A bird, number {self.rng.randrange(1000)}."}]
        fields = {"messages": messages, "max_tokens": 64, "response_format": form}
        status, body, _ = await self.answer(self.request("/v1/chat/completions", fields))
        if status != 200:
            return f"{status}: {body[:200]!r}"
        choice = json.loads(body)["choices"][0]
        if choice["finish_reason"] == "stop":
            jsonschema.validate(json.loads(choice["message"]["content"]), SCHEMA)
            self.whole_json += 1
        return None

    async def hang_up(self) -> str | None:
        """A stream whose client goes in the middle."""
        fields = {"prompt": self.rng.choice(PROMPTS), "max_tokens": 200, "stream": True, "n": 2}
        status, _, _ = await self.answer(self.request("/v1/completions", fields), leave_after=self.rng.randint(1, 8))
        return None if status == 200 else f"{status}"

    async def malformed(self) -> str | None:
        """A body that must be refused."""
        body = self.rng.choice([b"{", b'{"prompt": NaN}', b'{"prompt": "a", "heat": 1}', b"[" * 5000])
        status, answer, _ = await self.answer(self.request("/v1/completions", body))
        return None if status == 400 and b'"error"' in answer else f"{status}: {answer[:200]!r}"

    async def run(self, seconds: float) -> None:
        """All clients at once, for a time; then what runs comes to its end."""
        for prompt in PROMPTS:
            _, body, _ = await self.answer(self._greedy(prompt))
            self.alone[prompt] = json.loads(body)["choices"][0]["text"]
        await self._fill()
        began = time.monotonic()
        end = began + seconds
        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(self._client(end))
            group.create_task(self._every(KILL_S, end, self._kill_client))
            group.create_task(self._every(SAMPLE_S, end, lambda: self._sample(began)))

    async def _fill(self) -> None:
        """Long prompts, until they take no more memory."""
        sizes = [self._memory()]
        while len(sizes) < FILL_ROUNDS and (len(sizes) < 4 or sizes[-1] - sizes[-4] >= FULL_MIB):
            problems = await asyncio.gather(*(self.long() for _ in range(CLIENTS)))
            self.lost += [f"fill: {problem}" for problem in problems if problem]
            self.filled_with += CLIENTS
            sizes.append(self._memory())

    def _memory(self) -> float:
        return round(sum(map(_pss, _family(self.pid))), 1)

    async def _client(self, end: float) -> None:
        work: dict[str, Callable[[], Awaitable[str | None]]] = {
            "chat": self.chat, "completion": self.completion, "long": self.long, "json": self.json,
            "hang up": self.hang_up, "malformed": self.malformed,
        }  # fmt: skip
        while time.monotonic() < end:
            (kind,) = self.rng.choices(list(KINDS), list(KINDS.values()))
            try:
                problem = await work[kind]()
            except Exception as error:  # whatever it is, the request is lost, and the record says how
                problem = f"{type(error).__name__}: {error}"
            self.done[kind] += 1
            if problem is not None:
                self.lost.append(f"{kind}: {problem}")

    async def _every(self, pause: float, end: float, work: Callable[[], Awaitable[None]]) -> None:
        while time.monotonic() < end:
            await work()
            await asyncio.sleep(pause)

    async def _kill_client(self) -> None:
        fields = {"prompt": self.rng.choice(PROMPTS), "max_tokens": 400, "stream": True}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-S", "-c", KILLED, "127.0.0.1", str(self.port), "4",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(self.request("/v1/completions", fields))
        process.stdin.close()
        async with asyncio.timeout(PATIENCE_S):
            await process.stdout.readline()
        process.kill()
        await process.wait()
        self.done["killed"] += 4

    async def _sample(self, began: float) -> None:
        self.memory.append((round(time.monotonic() - began, 1), self._memory()))


def _joined(body: bytes) -> bytes:
    """The content of a body in HTTP's chunks."""
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        whole, body = whole + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return whole


def _family(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [pid, *(inner for child in children for inner in _family(int(child)))]


def _pss(pid: int) -> float:
    """MiB of a process; what it shares counts in part."""
    try:
        found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile, as the templates' process may
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


@contextmanager
def served(model: str, threads: int) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server of a model in a process of its own, and its port."""
    with tempfile.TemporaryDirectory() as folder:
        keys, log = Path(folder) / "keys", Path(folder) / "log"
        keys.write_text("".join(f"{name}: {key}\n" for name, key in KEYS.items()))
        keys.chmod(0o600)
        command = [
            sys.executable, "-m", "puna", "serve", f"soaked={model}", "--port", "0", "--keys", str(keys),
            "--threads", str(threads),
        ]  # fmt: skip
        with log.open("w") as stderr, subprocess.Popen(command, stderr=stderr, text=True) as process:
            try:
                end = time.monotonic() + PATIENCE_S
                while not (found := re.search(r" at http://127\.0\.0\.1:(\d+) ", log.read_text())):
                    if process.poll() is not None or time.monotonic() > end:
                        raise SystemExit(f"the server did not start:\n{log.read_text()}")
                    time.sleep(0.1)
                yield process, int(found[1])
            finally:
                process.kill()


def small(folder: str) -> str:
    """A model of the tests: random weights, ChatML's template, 2,048 tokens of context."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "fixtures"))
    from chats import TEMPLATES, chat_tokenizer
    from model_source import random_model

    from puna.config.recipe import ModelConfig
    from puna.model.files import save_model

    tokenizer, path = chat_tokenizer(add_bos=False), Path(folder) / "small"
    config = ModelConfig(
        dim=64, n_layers=2, n_heads=4, n_kv_heads=2, ffn_dim=128, context=2048, vocab_size=tokenizer.vocab_size
    )
    save_model(random_model(config, std=0.2), path, tokenizer=tokenizer, inputs={}, chat_template=TEMPLATES["chatml"])
    return str(path)


def growth(memory: list[tuple[float, float]]) -> dict[str, float]:
    """Memory after the warm-up: medians of the first and the last third, their difference, and the most."""
    later = [size for when, size in memory if when >= WARM_UP * memory[-1][0]]
    third = max(1, len(later) // 3)
    first, last = statistics.median(later[:third]), statistics.median(later[-third:])
    return {
        "first_third_mib": first,
        "last_third_mib": last,
        "growth_mib": round(last - first, 1),
        "most_mib": max(later),
    }


def main() -> None:
    """Run the soak and write its record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="what `puna serve` takes; with a chat template")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--context", type=int, default=1024, help="tokens that the model reads, at least")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--record", type=Path, default=RESULTS / f"soak_{datetime.now(UTC):%Y-%m-%d}.json")
    args = parser.parse_args()
    load = os.getloadavg()[0]  # before: of other work on the machine
    with tempfile.TemporaryDirectory() as folder, served(args.model or small(folder), args.threads) as started:
        process, port = started
        soak = Soak(port=port, pid=process.pid, context=args.context)
        asyncio.run(soak.run(args.seconds))
        os.kill(process.pid, signal.SIGTERM)
        code = process.wait(PATIENCE_S)
    ordered = sorted(soak.first_s)
    result = {
        "requests": sum(soak.done.values()), "by_kind": dict(soak.done), "lost": len(soak.lost),
        "lost_examples": soak.lost[:10], "exit_code": code, "memory": growth(soak.memory), "memory_mib": soak.memory,
        "filled_with": soak.filled_with,
        "whole_json": soak.whole_json,
        "first_event_s": {
            "p50": round(statistics.median(ordered), 3), "p99": round(ordered[int(0.99 * (len(ordered) - 1))], 3)
        },
    }  # fmt: skip
    options = f"--seconds {args.seconds:g} --threads {args.threads}"
    record = {
        "schema": 1, "benchmark": "soak",
        "what": f"{args.seconds:g} s of mixed load on puna serve, by {CLIENTS} clients of two keys and others that are "
        "killed; memory is the PSS of all processes of the server",
        "command": " ".join(["python bench/soak.py", *([Path(args.model).name] if args.model else []), options]),
        "commit": commit(), "date": datetime.now(UTC).isoformat(timespec="seconds"), "puna": VERSION,
        "machine": machine(), "load_average": load, "results": result,
    }  # fmt: skip
    write_json(args.record, record)
    say(f"{result['requests']} requests, {result['lost']} lost; memory {result['memory']}; exit code {code}")
    say("\n".join(soak.lost[:10]))


if __name__ == "__main__":
    main()
