"""Token shards that are small enough to look at."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from shard_files import write_shards
from shelf import any_tokenizer, byte_tokenizer, full_disk, no_waiting_for_the_disk, out, recipe, shelf, tokenizer

from puna.config.recipe import Recipe
from puna.shards.shards import TokenShards
from puna.shards.writer import Encoded

__all__ = [
    "any_tokenizer",
    "byte_tokenizer",
    "full_disk",
    "no_waiting_for_the_disk",
    "out",
    "recipe",
    "shelf",
    "tokenizer",
]

WriteShards = Callable[..., TokenShards]


@pytest.fixture
def write_tokens(tmp_path: Path) -> WriteShards:
    """Writes shards of given token ids, without any text or tokenizer."""

    def write(
        documents: list[list[int]],
        *,
        name: str = "prose",
        shard_tokens: int = 10**6,
        vocab_size: int = 50000,
        tokenizer_sha256: str = "a" * 64,
    ):
        tokenizer: Any = SimpleNamespace(sha256=tokenizer_sha256, vocab_size=vocab_size, bos_id=1, eos_id=2)
        encoded = [Encoded(f"{n}.txt", f"shelf: {n}.txt", ids, 3 * len(ids)) for n, ids in enumerate(documents)]
        directory = tmp_path / "shards" / name / "train"
        write_shards(
            directory, encoded, tokenizer, source=name, split="train", shard_tokens=shard_tokens, documents_sha256="d"
        )
        return TokenShards.open(directory, verify=True)

    return write


@pytest.fixture
def mixed() -> Callable[..., Recipe]:
    """Makes recipes that mix given sources, with one sequence per batch so that a stage may begin anywhere."""

    def make(
        shares: dict[str, float],
        *,
        context: int = 8,
        seed: int = 0,
        stages: Sequence[tuple[int, dict[str, float]]] = (),
    ) -> Recipe:
        source = {"kind": "files", "path": "shelf", "include": ["*"], "heldout_fraction": 0.1}
        return Recipe.model_validate(
            {
                "name": "mixed",
                "seed": seed,
                "data": {"sources": dict.fromkeys(shares, source)},
                "mixture": shares,
                "stages": [{"from_tokens": first * context, "mixture": mixture} for first, mixture in stages],
                "model": {"dim": 32, "n_layers": 1, "n_heads": 2, "n_kv_heads": 2, "context": context},
                "train": {"tokens": 10**6 * context, "batch_tokens": context, "micro_batch_tokens": context},
                "optim": {"warmup_steps": 1},
            }
        )

    return make
