"""A session on tokens at random: the steps of a recipe without its data, for measuring and proving what a step does."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from puna.config.recipe import Recipe
from puna.core.layout import RunDir
from puna.core.schema.train_state import TrainState
from puna.parallel.apply import build_model
from puna.parallel.mesh import build_mesh
from puna.parallel.objective import Objective
from puna.parallel.world import World
from puna.train.device import Device, find_device
from puna.train.metrics import NoMetrics
from puna.train.optimizer import build_optimizer
from puna.train.saver import Saver
from puna.train.session import Session
from puna.train.stability import Monitor

BOS = 1
_DOCUMENT_TOKENS = 512
"""Mean length of the documents, where attention stops between them."""


@dataclass(frozen=True)
class RandomTokens:
    """What a session asks of its loader."""

    recipe: Recipe
    names: tuple[str, ...] = ("random",)

    def labels(self, first: int, count: int) -> NDArray[np.int64]:
        """All sequences are of the one source."""
        return np.zeros(count, dtype=np.int64)

    def batches(self, rows: int) -> Iterator[NDArray[np.int64]]:
        """Passes without end, (rows, T + 1): even over the vocabulary, with the beginnings of documents in between."""
        generator = np.random.default_rng(self.recipe.seed)
        model = self.recipe.model
        while True:
            tokens_BT = generator.integers(BOS + 1, model.vocab_size, (rows, model.context + 1))
            tokens_BT[generator.random(tokens_BT.shape) < 1 / _DOCUMENT_TOKENS] = BOS
            yield tokens_BT


def synthetic_session(recipe: Recipe, world: World, device: Device | None = None) -> Session:
    """A session that can take steps (`puna.train.step`), and neither reads nor writes a file.

    Args:
        recipe: What to train; sources and tokenizer don't matter.
        world: The processes.
        device: What is known of the device; None finds out.
    """
    mesh = build_mesh(recipe.parallel, world)
    device = device or find_device(recipe.train.precision, recipe.energy, world.device)
    model = build_model(recipe, mesh, world.device)
    compiled = recipe.train.compile and device.on_gpu
    optimizer = build_optimizer(model, recipe.optim, recipe.train.precision, recipe.seed, compiled=compiled)
    objective = Objective.of(recipe, model, mesh, BOS)
    absent: dict[str, Any] = dict.fromkeys(("run", "tokenizer", "display", "sample"))
    absent["loader"] = RandomTokens(recipe)
    return Session(
        recipe=recipe, world=world, mesh=mesh, device=device, heldout={}, model=model,
        objective=objective, optimizer=optimizer, state=TrainState(data_fingerprint=""),
        monitor=Monitor(recipe.stability), metrics=NoMetrics(),
        saver=Saver(RunDir(Path()), recipe.checkpoint, world), **absent,
    )  # fmt: skip


def on_random_tokens(session: Session) -> Iterator[NDArray[np.int64]]:
    """The passes of a session that `synthetic_session` made."""
    return RandomTokens(session.recipe).batches(session.micro_rows)


def random_pass(session: Session) -> torch.Tensor:
    """One pass of it on the device, (rows, T + 1)."""
    return torch.from_numpy(next(on_random_tokens(session))).to(session.world.device)
