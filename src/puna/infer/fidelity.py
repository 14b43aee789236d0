"""What quantizing a model costs: how far its distributions are from those of its float32 weights, on a short text.

The text is `fidelity.txt`, written for this: prose and a little code. Both models read it once, each token given all
before it; the quantized one by the runner that will answer, so that its activations and its cache count too.

Axes in names: T positions   V vocabulary
"""

import contextlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from puna.core.errors import GenerateError, StorageError
from puna.core.files import sha256_bytes, sha256_json, write_json
from puna.core.layout import user_cache
from puna.infer.runner import Piece, Runner, rows_of
from puna.tokenizer.bos import prompt_ids
from puna.tokenizer.tokenizer import Tokenizer

TEXT = Path(__file__).with_name("fidelity.txt")
TOKENS = 512
"""Tokens that are compared, at most: nearly all of the text."""

_HERE = Path(__file__).parent
_CODE = (
    _HERE / "load.py", _HERE / "kernel_runner.py", _HERE.parent / "ops" / "quantized.py",
    *sorted((_HERE.parent / "ops" / "cpu" / "decoder").glob("*.*")),
)  # fmt: skip
"""What makes integers of weights and computes with them."""


@dataclass(frozen=True)
class Fidelity:
    """How near quantized weights are to the float32 weights that they were made from."""

    kl: float
    """Mean Kullback-Leibler divergence of the quantized model's next-token distribution from the other's, in nats."""
    reference: float
    """Perplexity of the text by the float32 weights."""
    perplexity: float
    """The same by the quantized weights."""
    tokens: int
    """How many the figures are the mean of."""

    def __str__(self) -> str:
        return (
            f"KL {self.kl:.4f} nats/token, perplexity {self.reference:.2f} -> {self.perplexity:.2f}, "
            f"on {self.tokens} tokens"
        )


def text_ids(tokenizer: Tokenizer, most: int) -> list[int]:
    """The ids of the text, BOS included where the tokenizer puts it; `most` of them, and `TOKENS`, at most."""
    return prompt_ids(tokenizer, TEXT.read_text(encoding="utf-8"))[: min(most, TOKENS)]


@torch.no_grad()
def measure(runner: Runner, ids: list[int], reference: Iterable[Tensor]) -> Fidelity:
    """Compare a runner with the logits of the float32 weights.

    Args:
        runner: Its pages hold all of the text; what is in them is overwritten.
        ids: The text, at least two tokens.
        reference: The logits of all positions in their order, in pieces (T, V) of any length.

    Raises:
        GenerateError: Logits are not finite numbers.
    """
    count = -(-len(ids) // runner.page_size)
    tables_SP = torch.arange(count, dtype=torch.int32)[None]
    divergence, losses = 0.0, [0.0, 0.0]
    start = 0
    for expected_TV in reference:
        end = start + len(expected_TV)
        rows = rows_of([Piece(0, start, ids[start:end], range(end - start))], tables_SP)
        found_TV = runner.logits(rows).cpu().double().log_softmax(-1)
        known_TV = expected_TV.cpu().double().log_softmax(-1)
        divergence += torch.nn.functional.kl_div(found_TV, known_TV, reduction="sum", log_target=True).item()
        next_T = torch.tensor(ids[start + 1 : end + 1])  # nothing follows the last one
        for place, logs_TV in enumerate((known_TV, found_TV)):
            losses[place] -= logs_TV[: len(next_T)].gather(1, next_T[:, None]).sum().item()
        start = end
    if not math.isfinite(divergence + sum(losses)):
        raise GenerateError(
            "the scores of the quantized model or of its float32 weights are not finite numbers, so that the weights "
            "are damaged or too large",
            hint="`puna inspect` shows what the files hold; other weights may be sound",
        )
    known, found = (math.exp(loss / (len(ids) - 1)) for loss in losses)
    return Fidelity(kl=divergence / len(ids), reference=known, perplexity=found, tokens=len(ids))


def remembered(key: Mapping[str, Any], compute: Callable[[], Fidelity]) -> Fidelity:
    """What was found before under the same key, else what `compute` finds.

    It is kept in a file below the user's cache directory, `puna/fidelity`. A directory that cannot be written only
    means that it is computed again.

    Args:
        key: All that the figures depend on beside Puna's own code: the model, the kind of its weights, what computes.
        compute: Called where nothing is kept, or nothing that can be read.
    """
    name = sha256_json({"code": _code(), "text": TEXT.read_text(encoding="utf-8"), **key})[:32]
    file = _home() / f"{name}.json"
    with contextlib.suppress(OSError, ValueError, TypeError):
        return Fidelity(**json.loads(file.read_bytes()))
    found = compute()
    with contextlib.suppress(StorageError, OSError):
        write_json(file, asdict(found))
    return found


@cache
def _code() -> str:
    """A hash of the code on which the figures depend."""
    return sha256_bytes(b"".join(file.read_bytes() for file in _CODE))


def _home() -> Path:
    return user_cache() / "fidelity"
