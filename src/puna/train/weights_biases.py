"""The numbers of a run for Weights & Biases, which is imported only where a recipe names a project.

The package itself decides whether it talks to its server: `wandb login`, or WANDB_MODE=offline in the environment.
"""

import contextlib
import importlib
import secrets
from collections.abc import Iterator
from typing import Any

from puna.core.errors import TrainError
from puna.core.files import storage_errors, write_text
from puna.core.layout import RunDir


class WeightsBiasesRun:
    """A run of Weights & Biases; a resumed training goes on with the same one, whose id is in the file `wandb-id`.

    Args:
        run: Its directory gives the name, and takes what Weights & Biases writes.
        project: The project there.
        resumed: Whether training goes on from a checkpoint.

    Raises:
        TrainError: The package is missing, or it refuses to start.
        StorageError: The disk is full or not writable.
    """

    def __init__(self, run: RunDir, project: str, *, resumed: bool) -> None:
        self._field = f"metrics.wandb_project = {project!r}"
        self._wandb = _wandb(self._field)
        path = run.root / "wandb-id"
        with storage_errors(path):
            known = path.read_text(encoding="utf-8").strip() if resumed and path.exists() else ""
            if not known:
                known = secrets.token_hex(4)
                write_text(path, known + "\n")
        with self._explained():
            self._run = self._wandb.init(
                project=project,
                name=run.root.resolve().name,
                id=known,
                resume="allow",
                dir=str(run.root),
                # The terminal shows a moving picture, not a log.
                settings=self._wandb.Settings(console="off"),
            )
            # A step metric of our own: the built-in step cannot go back, but a run that returns to a checkpoint does.
            self._run.define_metric("step")
            self._run.define_metric("*", step_metric="step")

    def write(self, step: int, tokens: int, numbers: dict[str, float], texts: dict[str, str]) -> None:
        """Hand over the numbers and texts of a step.

        Raises:
            TrainError: Weights & Biases refuses them.
        """
        with self._explained():
            self._run.log({"step": step, "tokens": tokens, **numbers, **texts})

    def close(self, *, failed: bool) -> None:
        """End the session; a failed one is marked as failed.

        Raises:
            TrainError: Weights & Biases could not finish.
        """
        with self._explained():
            self._run.finish(exit_code=int(failed))

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        # It raises a ValueError for a setting in the environment that it does not know.
        except (self._wandb.errors.Error, ValueError) as error:
            raise TrainError(
                f"{self._field}: Weights & Biases refused: {' '.join(str(error).split())}",
                hint="`wandb login` signs in, WANDB_MODE=offline keeps everything in the run's directory",
            ) from error


def _wandb(field: str) -> Any:
    try:
        wandb = importlib.import_module("wandb")
    except ModuleNotFoundError as error:
        if error.name != "wandb":
            raise
    else:
        # A folder of its records in the current directory can be imported as the package.
        if hasattr(wandb, "init"):
            return wandb
    raise TrainError(f"{field} needs the package 'wandb', which is not installed", hint="pip install wandb")
