"""A small recipe of instruction tuning, a chat tokenizer, and examples as a data build gives them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from chats import TEMPLATES, chat_tokenizer

from puna.chat.example import Example
from puna.chat.messages import Message
from puna.config.data import DataConfig, Source
from puna.config.finetune import FinetuneConfig
from puna.config.recipe import ModelConfig, OptimConfig, Recipe, TrainConfig
from puna.finetune.token_files import Examples
from puna.finetune.tokens import prepare
from puna.tokenizer.tokenizer import Tokenizer

TEMPLATE = TEMPLATES["chatml"]
CONTEXT = 64


class Given(NamedTuple):
    """An example and where it comes from."""

    source: str
    id: str
    example: Example


def talk(*contents: str, task: str = "") -> Example:
    """A conversation whose turns are the user's and the assistant's by turns."""
    roles = ("user", "assistant")
    return Example(messages=tuple(Message(roles[at % 2], text) for at, text in enumerate(contents)), task=task)


def pair(question: str, chosen: str, rejected: str) -> Example:
    """A question with two answers."""
    turns = [(Message("assistant", text),) for text in (chosen, rejected)]
    return Example(messages=(Message("user", question),), chosen=turns[0], rejected=turns[1])


def made(source: str, count: int, seed: int) -> list[Given]:
    """Conversations of different lengths, of three tasks."""
    random = np.random.default_rng(seed)
    words = ["the capital", "of France", "is", "Paris", "and", "you are", "a helpful", "assistant"]

    def text() -> str:
        return " ".join(random.choice(words, random.integers(1, 9)))

    return [
        Given(source, f"{source}-{at}", talk(*(text() for _ in range(2 * random.integers(1, 3))), task=f"t{at % 3}"))
        for at in range(count)
    ]


def recipe_of(sources: dict[str, float], *, rows: int = 4, context: int = CONTEXT, **tuning: Any) -> Recipe:
    """A recipe whose sources have these shares."""
    source = Source(path="unused", include=["*.jsonl"], heldout_fraction=0.1)
    return Recipe(
        name="case", seed=5, mixture=sources, data=DataConfig(sources=dict.fromkeys(sources, source)),
        model=ModelConfig(
            dim=32, n_layers=2, n_heads=4, n_kv_heads=2, ffn_dim=48, context=context,
            vocab_size=chat_tokenizer(add_bos=False).vocab_size,
        ),
        train=TrainConfig(
            tokens=100 * rows * context, batch_tokens=rows * context, micro_batch_tokens=context, precision="fp32",
            compile=False, log_every=1,
        ),
        optim=OptimConfig(warmup_steps=0, lr=1e-2),
        finetune=FinetuneConfig(**{"epochs": 2.0} | tuning),
    )  # fmt: skip


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """With the control tokens of ChatML; it puts BOS before a text."""
    return chat_tokenizer(add_bos=True)


@pytest.fixture(scope="session")
def given() -> dict[str, list[Given]]:
    """The examples of both splits."""
    return {
        "train": [*made("talks", 70, 1), *made("tasks", 50, 2)],
        "heldout": [*made("talks", 9, 3), *made("tasks", 8, 4)],
    }


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """Two sources, in the proportion of their examples."""
    return recipe_of({"talks": 70.0, "tasks": 50.0})


@pytest.fixture
def write(tokenizer: Tokenizer, tmp_path: Path) -> Callable[..., Examples]:
    """Writes examples by a recipe, and opens those of a split."""

    def write(recipe: Recipe, given: dict[str, list[Given]], split: str = "train", **options: Any) -> Examples:
        out = tmp_path / "examples"
        prepare(recipe, TEMPLATE, tokenizer, lambda name: given.get(name, []), out, data="hash", **options)
        return Examples.open(out, split, list(recipe.mixture), verify=True)

    return write


@pytest.fixture(scope="session")
def written(
    recipe: Recipe, given: dict[str, list[Given]], tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The examples as tokens. Read them, do not change them."""
    out = tmp_path_factory.mktemp("run") / "examples"
    prepare(recipe, TEMPLATE, tokenizer, lambda name: given[name], out, data="hash")
    return out


@pytest.fixture
def examples(recipe: Recipe, written: Path) -> Examples:
    """Those to train on."""
    return Examples.open(written, "train", list(recipe.mixture))
