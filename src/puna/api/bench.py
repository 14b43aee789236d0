"""How fast a model answers on this machine."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from puna.core.console import progress, say

if TYPE_CHECKING:
    from puna.api.recipes import PathLike
    from puna.infer.measure import Sweep

BATCHES = (1, 8, 32)
"""Requests at once: alone, a few, and the many of our own record (docs/guide/inference-speed.md)."""
TOKENS = 32
"""Tokens that each request writes: 31 steps are enough for a median."""


def bench_infer(
    path: "PathLike",
    *,
    weights: str | None = None,
    cache: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    batches: Sequence[int] = BATCHES,
    contexts: Sequence[int] | None = None,
    tokens: int = TOKENS,
) -> "Sweep":
    """Measure a model with some requests at once and prompts of some lengths, beside what this machine's memory allows.

    Prompts are random tokens, all different, and texts are written greedily to their last token.

    Args:
        path: As `load` has it: a run, a model directory, a file in any format, or a name on the hub.
        weights: How matrices are kept: `float32`, `bfloat16`, `int8` or `int4`; None keeps them as they are stored.
        cache: How keys and values are kept: `float32` or `float16`; None takes what `load` takes.
        device: Where it runs, such as `cuda`.
        threads: Of this process on a CPU, from now on; None takes PyTorch's number.
        batches: Requests at once.
        contexts: Tokens of a prompt; None takes 128 and 512, where the model's context allows it.
        tokens: Tokens that each request writes, at least 2.

    Returns:
        One point for each number of requests and each length: time to the first token, time per token, tokens/s, and
        shares of the memory's bandwidth and of the machine's sgemm; `as_dict` is the record. Those for which the cache
        has no room are left out, which a sentence on stderr says.

    Raises:
        GenerateError: A prompt and what follows it is longer than the model's context, the cache has no room for any
            of the pairs, or a number is too small.
        FormatError: As `load`.
        CheckpointError: As `load`.
        TokenizerError: As `load`.
    """
    import torch

    from puna.api.loading import load
    from puna.infer.engine import MAX_ROWS, Engine
    from puna.infer.measure import Rates, Sweep, fitting, size_of, sweep

    runner = load(path, weights=weights, cache=cache, device=device, threads=threads, measure=False).runner
    pairs, left_out = fitting(runner, batches=batches, contexts=contexts, tokens=tokens)
    for sentence in left_out:
        say(sentence)
    found = Sweep(
        model=str(path), runner=runner.title, threads=torch.get_num_threads(), tokens=tokens, size=size_of(runner),
        rates=Rates.measure(),
    )  # fmt: skip
    requests = max(batch for batch, _ in pairs)
    engine = Engine(runner, max_requests=requests, max_rows=max(MAX_ROWS, 2 * requests))
    with progress("measure", sum(batch * (context + tokens) for batch, context in pairs), "tokens") as advance:
        for point in sweep(engine, found.size, found.rates, pairs, tokens):
            found.points.append(point)
            advance(point.batch * (point.context + tokens))
    return found
