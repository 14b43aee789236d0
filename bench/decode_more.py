"""What bench/decode.py records beside the turns: ratios against their targets, speculation, start, PyTorch's bits.

- `ratios`: Puna over a peer, within each round, then the median; with what was aimed at.
- `start`: seconds of `puna generate` for one token, and of `python -c "import torch"`, in turns.
- `speculation`: one request with and without guesses, on the real text of smol where it has SmolLM2's weights.
- `bits`: what the same row gives in PyTorch's products and attention in different company, and what it costs to have
  each row computed alone.
"""

import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from puna.core.console import say

PAIRS = (
    ("float32", "llama.cpp", "F32"), ("int8", "llama.cpp", "Q8_0"), ("int4", "llama.cpp", "Q4_0"),
    ("float32", "transformers", "float32"), ("float32", "vllm", "float32"), ("int8", "transformers", "float32"),
)  # fmt: skip
TARGETS = {
    ("AVX512", "decode"): {
        ("float32", "F32"): 1.5, ("int8", "Q8_0"): 2.0, ("int4", "Q4_0"): 3.0, ("float32", "transformers"): 1.15
    },
    ("AVX2", "decode"): {("float32", "F32"): 1.2, ("int8", "Q8_0"): 1.2, ("int4", "Q4_0"): 1.0},
    ("AVX512", "prefill"): {("float32", "F32"): 3.0, ("int8", "Q8_0"): 3.0, ("int4", "Q4_0"): 3.0},
    ("AVX512", "requests"): {
        ("float32", "transformers"): 2.0, ("float32", "vllm"): 2.0, ("int8", "transformers"): 3.4,
        ("int8", "alone"): 8.0,
    },
}  # fmt: skip
"""What was aimed at before anything was measured, by instruction set and task."""
BEGIN = "The first ten prime numbers are"
REPEATED = (
    "The harbour master keeps three lists. The first list has the names of the ships, the second list has the names of "
    "their captains, and the third list has the day on which each ship came in. "
)
START_ROUNDS = 5
ROWS = (1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 24, 31, 32, 33, 48, 64, 65, 127, 128, 129, 256)


def ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Puna over each peer that ran the same task, and over itself alone where many requests ran at once."""
    groups: dict[tuple[str, str, int, str], dict[tuple[str, str], list[float]]] = defaultdict(dict)
    for row in rows:
        where = row["model"], row["code"], row["threads"], row["task"]
        groups[where][row["system"], row["weights"]] = row["rounds"]
    found = []
    for (model, code, threads, task), rates in groups.items():
        kind = "requests" if "requests" in task else task.partition(" ")[0].rstrip(",")
        targets = TARGETS.get((code, kind), {})
        pairs = [(ours, peer, theirs, rates.get((peer, theirs))) for ours, peer, theirs in PAIRS]
        if kind == "requests":
            alone = groups[model, code, threads, "decode"]
            of_alone = ((kept, alone.get(("puna", kept))) for kept in ("float32", "int8", "int4"))
            pairs += [(kept, "alone", kept, one and [statistics.median(one)]) for kept, one in of_alone]
        for ours, peer, theirs, denominators in pairs:
            numerators = rates.get(("puna", ours))
            if not numerators or not denominators:
                continue
            denominators = denominators if len(denominators) > 1 else denominators * len(numerators)
            each = [a / b for a, b in zip(numerators, denominators, strict=True)]
            target = targets.get((ours, theirs if peer == "llama.cpp" else peer))
            found.append(
                {
                    "model": model, "code": code, "threads": threads, "task": task, "weights": ours,
                    "over": f"{peer} {theirs}", "ratio": statistics.median(each), "min_max": [min(each), max(each)],
                    "target": target, "met": None if target is None else statistics.median(each) >= target,
                }
            )  # fmt: skip
    return found


def start(model: Path, rounds: int = START_ROUNDS) -> dict[str, Any]:
    """Seconds of commands from nothing to their end, in turns; all have run once before."""
    commands = {
        "import torch": [sys.executable, "-c", "import torch"],
        "puna generate": [
            sys.executable, "-m", "puna", "generate", str(model), BEGIN, "--max-tokens", "1",
        ],
    }  # fmt: skip
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds + 1):
        for name, command in commands.items():
            started = time.perf_counter()
            subprocess.run(command, capture_output=True, check=True)
            seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(taken[1:]) for name, taken in seconds.items()}
    ratio = medians["puna generate"] / medians["import torch"]
    say(f"start: {ratio:.2f} times import torch, {medians}")
    return {"model": model.name, "seconds": medians, "rounds": seconds, "ratio": ratio, "target": 1.5}


def speculation(model: Path, threads: int, tokens: int, rounds: int) -> list[dict[str, Any]]:
    """Tokens/s of one greedy request with and without guesses; the text must be the same."""
    import puna
    from puna.infer.engine import Engine
    from puna.infer.requests import Request, Sampling
    from puna.infer.speculate import DraftModel, PromptLookup

    target = puna.load(model, weights="float32", threads=threads)
    # The same kind of cache, since the draft's has pages of the same numbers.
    draft = puna.load(model, weights="int4", cache="float32", measure=False)
    drafters = {
        "none": lambda: None,
        "look-up": PromptLookup,
        "its own int4 form": lambda: DraftModel(draft.runner, target.runner),
    }
    found = []
    for text, prompt in {"that repeats": REPEATED * 3, "that does not": BEGIN}.items():
        request = Request(
            prompt=tuple(target.tokenizer.encode(prompt)), max_tokens=tokens, sampling=Sampling(temperature=0)
        )
        taken: dict[str, list[float]] = {name: [] for name in drafters}
        done: dict[str, Any] = {}
        for _ in range(rounds):
            for name, make in drafters.items():
                engine = Engine(target.runner, drafter=make())  # a new one has nothing in its cache
                started = time.perf_counter()
                (done[name],) = engine.generate([request])
                taken[name].append(len(done[name].tokens) / (time.perf_counter() - started))
        plain = done["none"]
        for name, completion in done.items():
            found.append(
                {
                    "model": model.name, "threads": threads, "text": text, "guesses": name,
                    "tokens_per_second": statistics.median(taken[name]), "rounds": taken[name],
                    "proposed": completion.proposed_tokens, "accepted": completion.accepted_tokens,
                    "same_text": completion.tokens == plain.tokens,
                }
            )  # fmt: skip
    return found


def linear_classes(threads: int) -> dict[str, list[list[int]]]:
    """Numbers of rows at which `F.linear` in float32 gives the first row the same bits, by the weight's shape."""
    torch.set_num_threads(threads)
    found = {}
    for outputs, inputs in ((768, 768), (2048, 768), (768, 2048), (32_000, 768)):
        generator = torch.Generator().manual_seed(0)
        weight_NK = torch.randn(outputs, inputs, generator=generator)
        x_MK = torch.randn(max(ROWS), inputs, generator=generator)
        classes: list[tuple[torch.Tensor, list[int]]] = []
        for rows in ROWS:
            first = F.linear(x_MK[:rows], weight_NK)[0]
            known = next((numbers for bits, numbers in classes if torch.equal(bits, first)), None)
            if known is None:
                classes.append((first, [rows]))
            else:
                known.append(rows)
        found[f"{outputs} x {inputs}"] = [numbers for _, numbers in classes]
    return found


def attention_differs(threads: int) -> int:
    """Of 64 lengths, those at which the last row of causal attention has other bits than the same row alone."""
    torch.set_num_threads(threads)
    q, k, v = torch.randn(3, 1, 12, 128, 64, generator=torch.Generator().manual_seed(0))
    differing = 0
    for length in range(2, 130, 2):
        keys, values = k[:, :, :length], v[:, :, :length]
        whole = F.scaled_dot_product_attention(q[:, :, :length], keys, values, is_causal=True)[:, :, -1:]
        alone = F.scaled_dot_product_attention(q[:, :, length - 1 : length], keys, values)
        differing += not torch.equal(whole, alone)
    return differing


def one_by_one(model: Path, threads: int, tokens: int) -> list[dict[str, Any]]:
    """Tokens/s through PyTorch's operators, all rows of a step together and each alone, for 1 and for 8 requests."""
    from puna.infer.engine import Engine
    from puna.infer.measure import random_requests, time_requests
    from puna.infer.operator_runner import OperatorRunner
    from puna.model.files import load_model

    torch.set_num_threads(threads)
    decoder = load_model(model).model
    found = []
    for alone in (False, True):
        engine = Engine(OperatorRunner(decoder, pages=64, page_size=16, one_by_one=alone))
        for batch in (1, 8):
            requests = random_requests(decoder.config, [16] * batch, [tokens] * batch, seed=batch)
            each = time_requests(engine, requests).token_seconds
            found.append(
                {
                    "rows": "each alone" if alone else "together", "threads": threads, "batch": batch,
                    "exact": engine.runner.exact, "tokens_per_second": batch / each if each else None,
                }
            )  # fmt: skip
    return found


def sections(models: Path, tiny: Path | None, *, quick: bool) -> dict[str, Any]:
    """The sections that are no turns of systems; of the tiny model, where there is only that."""
    threads = torch.get_num_threads()
    m134, smol = (tiny or models / name for name in ("m134", "smol"))
    tokens, rounds = (4, 1) if tiny else (48, 2) if quick else (96, 3)
    found = {
        "start": start(m134, 1 if tiny else START_ROUNDS),
        "speculation": speculation(smol, threads, tokens, rounds) if smol.exists() else [],
        "bits": {
            "linear": {count: linear_classes(count) for count in sorted({1, threads})},
            "attention": {count: attention_differs(count) for count in sorted({1, threads})},
            "one_by_one": one_by_one(m134, threads, 4 if tiny else 17),
        },
    }
    torch.set_num_threads(threads)
    return found
