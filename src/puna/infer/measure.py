"""How fast an engine reads prompts and writes tokens, beside what this machine's memory and arithmetic allow.

`sweep` puts some requests with random prompts of one length into an engine together and lets each write some tokens,
greedily: once for every number of requests and every length. Prompts differ, so nothing is found in the cache. Its
points are what `puna bench infer` shows, and bench/decode.py takes its times with the same functions.

A decode step reads every matrix once, whatever the number of requests, and the keys and values of each request; it
computes two operations for each weight and request, and four for each number of the keys that a request sees. With few
requests the first is the bound, with many the second.
"""

import contextlib
import mmap
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import torch

from puna.config.recipe import ModelConfig
from puna.core.errors import GenerateError
from puna.infer.requests import Event, Request, Sampling
from puna.infer.runner import Runner
from puna.plan.count import matmul_parameters, parameters

CONTEXTS = (128, 512)
"""Tokens of a prompt: llama-bench's prefill of 512, and a quarter of it."""

_READ_BYTES = 1 << 28
"""Bytes of the buffer that is read: larger than the last-level caches of all processors of today but a few."""
_SIDE = 2048
"""Rows and columns of the product: as in `puna plan` for a CPU."""
_RUNS = 5


class Measured(Protocol):
    """What is measured; `puna.infer.engine.Engine` is one."""

    def add(self, request: Request) -> int:
        """Takes a request; the number is its name in the events."""
        ...

    def step(self) -> list[Event]:
        """Computes once; what it wrote."""
        ...


@dataclass(frozen=True)
class Timing:
    """What some requests took that began together."""

    first_seconds: tuple[float, ...]
    """From the beginning until the first token of each request."""
    step_seconds: tuple[float, ...]
    """What each step took."""
    written: tuple[int, ...]
    """Tokens that each step wrote."""
    whole: range
    """The steps that wrote for all requests: after the last prompt was read, and before the first request ended."""

    @property
    def seconds(self) -> float:
        """What all steps took together."""
        return sum(self.step_seconds)

    @property
    def tokens(self) -> int:
        """Written by all steps."""
        return sum(self.written)

    @property
    def token_seconds(self) -> float | None:
        """Median time in which each request wrote one more token; None where no step wrote for all of them."""
        steps = [self.step_seconds[index] for index in self.whole]
        tokens = sum(self.written[index] for index in self.whole)
        return statistics.median(steps) * len(steps) * len(self.first_seconds) / tokens if tokens else None


def time_requests(
    engine: Measured, requests: Sequence[Request], *, between: Callable[[], object] | None = None
) -> Timing:
    """Add all requests at once and step until they are done.

    Args:
        engine: With nothing else to do.
        requests: Of one sample each.
        between: Called before every step and not counted, for example to evict weights from the processor's caches.
    """
    clock, elapsed = time.perf_counter, 0.0
    started = clock()
    places = {engine.add(request): place for place, request in enumerate(requests)}
    elapsed += clock() - started
    first: dict[int, float] = {}
    seconds: list[float] = []
    written: list[int] = []
    last_first, first_end = 0, None
    left = len(requests)
    while left:
        if between is not None:
            between()
        started = clock()
        events = engine.step()
        seconds.append(clock() - started)
        elapsed += seconds[-1]
        written.append(sum(event.token is not None for event in events))
        for event in events:
            place = places[event.request]
            if event.token is not None and place not in first:
                first[place] = elapsed
                last_first = len(seconds)
            if event.completion is not None:
                left -= 1
                first_end = len(seconds) if first_end is None else first_end
    whole = range(last_first, first_end or 0) if len(first) == len(requests) else range(0)
    return Timing(tuple(first[place] for place in sorted(first)), tuple(seconds), tuple(written), whole)


def random_requests(config: ModelConfig, lengths: Sequence[int], tokens: Sequence[int], seed: int) -> list[Request]:
    """Greedy requests with random prompts of these lengths, that stop only after as many tokens."""
    generator = torch.Generator().manual_seed(seed)
    greedy = Sampling(temperature=0)
    return [
        Request(
            prompt=tuple(torch.randint(config.vocab_size, (length,), generator=generator).tolist()), max_tokens=count,
            sampling=greedy,
        )
        for length, count in zip(lengths, tokens, strict=True)
    ]  # fmt: skip


@dataclass(frozen=True)
class Rates:
    """What this machine's memory and arithmetic do with the threads that PyTorch has now."""

    read_bytes_per_second: float
    """A plain read: PyTorch's sum of 256 MiB of float32 in large pages (of 2 MiB, where the system gives them to who
    asks, and 40 % faster on one core than small ones), the best of five."""
    flops: float
    """PyTorch's product of two float32 matrices of 2,048 rows and columns, the best of five."""

    @classmethod
    def measure(cls) -> "Rates":
        """Measure both, which takes a second or two."""
        read = _best(_large_pages(_READ_BYTES).fill_(1).sum)
        left, right, product = torch.ones(3, _SIDE, _SIDE)
        return cls(_READ_BYTES / read, 2 * _SIDE**3 / _best(lambda: torch.mm(left, right, out=product)))


def _large_pages(size: int) -> torch.Tensor:
    """Memory for float32 numbers in pages as large as the system gives."""
    memory = mmap.mmap(-1, size)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=torch.float32)


def _best(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(_RUNS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


@dataclass(frozen=True, kw_only=True)
class Size:
    """What a step of a model reads."""

    config: ModelConfig
    weight_bytes: int
    """Of all matrices that a step reads, the output layer among them; not of the embeddings, of which it reads rows."""
    position_bytes: int
    """Keys and values of one position in all layers."""

    def step_bytes(self, batch: int, context: float) -> float:
        """Bytes that a decode step reads for this number of requests, each with `context` positions."""
        return self.weight_bytes + batch * context * self.position_bytes

    def step_flops(self, batch: int, context: float) -> float:
        """FLOPs of a decode step."""
        return batch * (2.0 * matmul_parameters(self.config) + self._attention_flops(context))

    def prompt_flops(self, batch: int, context: int) -> float:
        """FLOPs of reading prompts: each token sees those before it, and only the last has logits."""
        counts = parameters(self.config)
        each = 2.0 * (counts.attention + counts.feed_forward) + self._attention_flops((context + 1) / 2)
        return batch * (context * each + 2.0 * self.config.vocab_size * self.config.dim)

    def _attention_flops(self, keys: float) -> float:
        return 4.0 * self.config.n_layers * self.config.n_heads * self.config.head_dim * keys


def size_of(runner: Runner) -> Size:
    """What the steps of a runner read."""
    return Size(config=runner.config, weight_bytes=runner.weight_bytes, position_bytes=runner.position_bytes)


@dataclass(frozen=True, kw_only=True)
class Point:
    """One number of requests with one length of prompts."""

    batch: int
    context: int
    """Tokens of each prompt."""
    first_token_seconds: float
    """Until every request has its first token, since prompts are read one after another or together."""
    prompt_tokens_per_second: float
    prompt_share_of_flops: float
    """Operations of the prompts per second, over those of the machine's sgemm. Integer kernels may be above 1."""
    token_seconds: float
    """Median time between two tokens of a request."""
    tokens_per_second: float
    """Of all requests together, while all of them write."""
    share_of_bandwidth: float
    """Bytes per second that a step must read, over a plain read's. Above 1 where weights stay in a cache."""
    share_of_flops: float
    """The step's operations per second, over those of the machine's sgemm."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Figures of one model on one machine; `as_dict` is what `puna bench infer --json` prints."""

    model: str
    runner: str
    """What computed it, in words."""
    threads: int
    """Threads of the CPU that computed."""
    tokens: int
    """That each request wrote."""
    size: Size
    rates: Rates
    points: list[Point] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Version 1 of the record: all figures, in bytes, seconds and shares of 1."""
        return {
            "schema": 1,
            "model": self.model,
            "parameters": parameters(self.size.config).total,
            "runner": self.runner,
            "threads": self.threads,
            "tokens": self.tokens,
            "weight_bytes": self.size.weight_bytes,
            "position_bytes": self.size.position_bytes,
            **asdict(self.rates),
            "points": [asdict(point) for point in self.points],
        }


def fitting(
    runner: Runner, *, batches: Sequence[int], contexts: Sequence[int] | None, tokens: int
) -> tuple[list[tuple[int, int]], list[str]]:
    """The pairs of requests and lengths that a runner's cache has room for, and a sentence on each of the others.

    Args:
        runner: Its cache and its model's context bound them.
        batches: Requests at once.
        contexts: Tokens of a prompt; None takes those of `CONTEXTS` that the model's context allows, or else the
            longest that it does.
        tokens: Tokens that each request writes.

    Raises:
        GenerateError: A number is too small, a prompt and what follows it is longer than the model's context, or no
            pair has room.
    """
    longest = runner.config.context - tokens
    if contexts is None:
        contexts = [context for context in CONTEXTS if context <= longest] or [max(1, longest)]
    if tokens < 2:
        raise GenerateError(f"tokens is {tokens}, but must be at least 2: the first comes with the prompt")
    for name, numbers in (("batch", batches), ("context", contexts)):
        if not numbers or min(numbers) < 1:
            raise GenerateError(f"{name} is {','.join(map(str, numbers)) or 'empty'}, but must be at least 1")
    if max(contexts) > longest:
        raise GenerateError(
            f"context is {max(contexts)}, but with {tokens} tokens after it that is longer than the model's context of "
            f"{runner.config.context}",
            hint=f"{longest} is the longest" if longest > 0 else "",
        )
    pairs, left_out = [], []
    for context in contexts:
        for batch in batches:
            needed = batch * -(-(context + tokens) // runner.page_size)
            if needed <= runner.pages:
                pairs.append((batch, context))
            else:
                left_out.append(
                    f"{batch} requests with prompts of {context} tokens are left out: they need "
                    f"{needed * runner.page_size} positions, and the cache has {runner.pages * runner.page_size}"
                )
    if not pairs:
        raise GenerateError(left_out[0], hint="give fewer requests or shorter prompts")
    return pairs, left_out


def sweep(engine: Measured, size: Size, rates: Rates, pairs: Sequence[tuple[int, int]], tokens: int) -> Iterator[Point]:
    """The figures of every pair of requests at once and tokens of a prompt, each as soon as it is measured.

    Args:
        engine: With nothing else to do, pages for the largest pair, and room for as many requests at once.
        size: What its steps read.
        rates: What the machine does.
        pairs: Requests at once, and tokens of a prompt.
        tokens: Tokens that each request writes, at least 2.
    """
    time_requests(engine, random_requests(size.config, [2], [2], seed=0))  # what only the first step does
    for number, (batch, context) in enumerate(pairs, start=1):
        requests = random_requests(size.config, [context] * batch, [tokens] * batch, seed=number)
        yield _point(time_requests(engine, requests), size, rates, batch, context, tokens)


def _point(timing: Timing, size: Size, rates: Rates, batch: int, context: int, tokens: int) -> Point:
    first = max(timing.first_seconds)
    # Where not all requests fit in at once, no step writes for all of them, and the mean of what came after is taken.
    each = timing.token_seconds or (timing.seconds - first) / (tokens - 1)
    keys = context + tokens / 2
    return Point(
        batch=batch,
        context=context,
        first_token_seconds=first,
        prompt_tokens_per_second=batch * context / first,
        prompt_share_of_flops=size.prompt_flops(batch, context) / first / rates.flops,
        token_seconds=each,
        tokens_per_second=batch / each,
        share_of_bandwidth=size.step_bytes(batch, keys) / each / rates.read_bytes_per_second,
        share_of_flops=size.step_flops(batch, keys) / each / rates.flops,
    )
