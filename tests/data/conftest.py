"""Sources, tokenizers and token shards that are small enough to look at."""

import contextlib
import os
import resource
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from puna.config.recipe import Recipe
from puna.core.layout import DataDir
from puna.data.shard_writer import Encoded, write_shards
from puna.data.shards import TokenShards
from puna.tokenizer.tokenizer import Tokenizer

POEM = "Tyger Tyger, burning bright,\nIn the forests of the night;\nWhat immortal hand or eye,\n"
CODE = "def frame(symmetry):\n    return {key: 10 * value for key, value in symmetry.items()}\n"

WriteShards = Callable[..., TokenShards]


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test here cuts the power, and hundreds of files would each wait for the disk."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


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


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """A tokenizer with a few pieces more than bytes and characters."""
    from puna.tokenizer.train import train_tokenizer

    out = tmp_path_factory.mktemp("tokenizer") / "tokenizer"
    texts = [POEM * 3, CODE * 3]
    return train_tokenizer(texts, vocab_size=330, character_coverage=1.0, config={}, inputs={}, out=out)


@pytest.fixture(scope="session")
def byte_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """A byte-level BPE with a few merges, in which one token begins and ends a text."""
    from puna.tokenizer.train import train_tokenizer

    out = tmp_path_factory.mktemp("tokenizer") / "tokenizer"
    return train_tokenizer(
        [POEM * 3, CODE * 3], vocab_size=330, character_coverage=1.0, config={}, inputs={}, out=out, kind="byte-bpe"
    )


@pytest.fixture(params=["tokenizer", "byte_tokenizer"])
def any_tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    """A tokenizer of each kind."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """Two sources: poems of which those in `kept/` are held out, and code."""
    for number in range(12):
        folder = "kept" if number % 4 == 0 else "read"
        path = tmp_path / "shelf" / "poems" / folder / f"{number:02}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(POEM * (number % 3 + 1) + f"Poem {number}.\n")
    for number in range(12):
        path = tmp_path / "shelf" / "code" / f"{number:02}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(CODE + f"# {number}\n")
    return tmp_path / "shelf"


@pytest.fixture
def recipe(shelf: Path) -> Recipe:
    """A recipe of the shelf."""
    return make_recipe(shelf)


def make_recipe(shelf: Path) -> Recipe:
    poems = {"kind": "files", "path": str(shelf / "poems"), "include": ["**/*.txt"], "heldout_pattern": "^kept/"}
    code = {"kind": "files", "path": str(shelf / "code"), "include": ["*.py"], "heldout_fraction": 0.3}
    return Recipe.model_validate(
        {
            "name": "shelf",
            "data": {"sources": {"poems": poems | {"licence": "public | domain"}, "code": code}, "shard_tokens": 200},
            "mixture": {"poems": 3.0, "code": 1.0},
            "model": {"dim": 32, "n_layers": 1, "n_heads": 2, "n_kv_heads": 2, "vocab_size": 330, "context": 16},
            "train": {"tokens": 10240, "batch_tokens": 1024, "micro_batch_tokens": 1024},
            "optim": {"warmup_steps": 1},
        }
    )


@pytest.fixture
def out(tmp_path: Path) -> DataDir:
    """Where a build goes."""
    return DataDir(tmp_path / "data" / "shelf")


@pytest.fixture
def full_disk() -> Callable[[int], contextlib.AbstractContextManager[None]]:
    """A disk on which no file grows beyond so many bytes: the kernel refuses the write, as it does on a full one."""

    @contextlib.contextmanager
    def limit(size: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit


@pytest.fixture
def real() -> Callable[[str], Path]:
    """Real input from the directory that `PUNA_TEST_DATA` names, by default `shared/data` beside the repository."""

    def find(name: str) -> Path:
        beside = Path(__file__).resolve().parents[3] / "shared" / "data"
        path = Path(os.environ.get("PUNA_TEST_DATA", beside)) / name
        if not path.exists():
            pytest.skip(f"{name} is not beside the project")
        return path

    return find
