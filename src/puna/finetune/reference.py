"""Log-probabilities of a run's pairs under the reference model, the initial one, computed once and kept in the run.

```
runs/NAME/examples/reference/
  train-settings.json   what decides the numbers: the weights, the examples, the precision
  train-00000.npy       of the first pairs of the split: float64 (pairs, 2), the preferred answer first, in nats
  train-00001.npy  …    heldout-settings.json  heldout-00000.npy  …
```

A part is written when its pairs are done, so that a run that was killed goes on behind the last one. The model computes
in the layout of the run; with low-rank updates, which begin as zero, the initial model is the base.

Axes: E pairs   K pairs of a sequence
"""

import contextlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from puna.core.console import progress
from puna.core.errors import CheckpointError
from puna.core.files import atomic_file, remove, write_json
from puna.finetune.measured import own_batches, packs_of
from puna.finetune.preferences import PreferenceObjective, of
from puna.finetune.token_files import Examples
from puna.parallel.apply import reshard
from puna.train.session import Session

PART = 4096
"""Pairs of a file: no more are computed again after a kill."""


def reference_of(
    session: Session, objective: PreferenceObjective, examples: Examples, split: str, *, directory: Path, padding: int
) -> Tensor:
    """The log-probabilities of all pairs of a split, (E, 2) float64 on the device; computed where they are not kept.

    Args:
        session: Of the run; its model is the reference while no step is done.
        objective: Computes log-probabilities of pairs on that model.
        examples: The pairs of the split.
        split: `train` or `heldout`.
        directory: Where they are kept.
        padding: The token that fills sequences up.

    Raises:
        CheckpointError: Steps are done and the numbers are not kept, so nothing can make them any more.
        StorageError: They cannot be written.
        Interrupted: A signal came; the whole parts are kept.
    """
    parts = _Parts(directory, split, examples.total)
    world, settings = session.world, settings_of(session, examples)
    kept = world.first(lambda: parts.kept(settings))
    missing = sum(size for number, size in enumerate(parts.sizes) if number not in kept)
    if missing and session.state.step:
        session.agreed(parts.refuse)
    found = [torch.empty(0, 2, dtype=torch.float64)]
    with progress(f"reference model, {split}", missing, "pairs", visible=world.main and missing > 0) as advance:
        for number, size in enumerate(parts.sizes):
            values_E2 = kept.get(number)
            if values_E2 is None:
                chosen = np.arange(number * PART, number * PART + size)
                values_E2 = _compute(session, objective, examples, chosen, padding)
                world.on_main(partial(parts.write, number, values_E2))
                advance(size)
            found.append(torch.from_numpy(values_E2))
    if missing:
        reshard(session.model)
    return torch.cat(found).to(world.device)


def settings_of(session: Session, examples: Examples) -> dict[str, Any]:
    """What decides the log-probabilities: a run with other ones computes them again."""
    recipe, tuning = session.recipe, session.recipe.finetune
    return {
        "weights": session.state.initial_weights or f"seed {recipe.seed}",
        "model": recipe.model.model_dump(exclude_none=True),
        "precision": [recipe.train.precision, recipe.train.float8, None if tuning is None else tuning.base],
        "examples": examples.fingerprint,
    }


class _Parts:
    """The files of a split."""

    def __init__(self, directory: Path, split: str, total: int) -> None:
        self._directory, self._split = directory, split
        self.sizes = [min(PART, total - first) for first in range(0, total, PART)]
        """Pairs of each file."""

    def kept(self, settings: dict[str, Any]) -> dict[int, NDArray[np.float64]]:
        """The whole files that are there, by their numbers; those of other settings are deleted."""
        path, same = self._directory / f"{self._split}-settings.json", False
        if path.is_file():
            with contextlib.suppress(ValueError):
                same = json.loads(path.read_bytes()) == settings
        if not same:
            for old in self._directory.glob(f"{self._split}-*"):
                remove(old)
            write_json(path, settings)
        found = {}
        for number, size in enumerate(self.sizes):
            with contextlib.suppress(OSError, ValueError, EOFError):
                values_E2 = np.load(self._path(number), allow_pickle=False)
                if values_E2.shape == (size, 2) and values_E2.dtype == np.float64:
                    found[number] = values_E2
        return found

    def write(self, number: int, values_E2: NDArray[np.float64]) -> None:
        """Keep the numbers of a file's pairs."""
        with atomic_file(self._path(number)) as temporary, temporary.open("wb") as file:
            np.save(file, values_E2, allow_pickle=False)

    def refuse(self) -> None:
        """Refuse to go on without numbers that nothing can make any more."""
        raise CheckpointError(
            f"{self._directory}: does not hold what the initial model says of all pairs, and it has learned since",
            hint="put the directory back as it was, or begin the run again with --force",
        )

    def _path(self, number: int) -> Path:
        return self._directory / f"{self._split}-{number:05d}.npy"


def _compute(
    session: Session, objective: PreferenceObjective, examples: Examples, chosen: NDArray[np.int64], padding: int
) -> NDArray[np.float64]:
    """The log-probabilities of some pairs; all processes share the work and get all of them."""
    world, mesh = session.world, session.mesh
    found_E2 = torch.zeros(len(chosen), 2, dtype=torch.float64, device=world.device)
    with torch.compiler.set_stance("force_eager"), objective.tokens.passes():
        packs = packs_of(examples, chosen, session.recipe.model.context)
        for batch in own_batches(session, examples, packs, padding):
            session.leave_if_asked()
            passed = batch.sent(world.device)
            pairs_BK, values_BK2 = of(passed.pairs_BK), objective.log_probabilities(passed)
            there_BK = pairs_BK >= 0
            found_E2[pairs_BK[there_BK] - int(chosen[0])] = values_BK2[there_BK]
    return (world.sum(found_E2) / (mesh.context * mesh.tensor)).cpu().numpy()
