"""Which moment of a run a user means: a checkpoint by its step, the newest one, or the best one.

```
runs/demo                              its finished model, else its newest checkpoint
runs/demo@step-400, runs/demo@400      the checkpoint of step 400
runs/demo@last                         the newest checkpoint
runs/demo@best                         the kept checkpoint with the lowest figure on held-out text
runs/demo/checkpoints/step-00000400    that checkpoint
```
What exists under the whole name is a path, also where its name has an `@`.

The figure of a checkpoint is the mean of the sources' bits per byte, weighted by `[mixture]`, of the last validation up
to its step. Validations at intervals are compared with each other; the one at the end, which reads all held-out text,
counts only where there is no other. Of several checkpoints with the same validation the first one is taken, which is
the nearest to the weights that were measured.
"""

import math
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from puna.core.errors import CheckpointError
from puna.core.layout import RunDir
from puna.core.metrics import read_metrics
from puna.core.schema.lines import ValidationLine
from puna.core.schema.train_state import is_checkpoint, list_checkpoints, names_checkpoint, read_header

PathLike: TypeAlias = str | os.PathLike[str]

_MOMENT = re.compile(r"(?:step-)?(?P<step>\d{1,18})|(?P<last>last)|(?P<best>best)")
_EXPECTED = "step-400 (or 400), last or best"
_LISTED = 12
"""Steps that an error names at most."""


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A complete checkpoint of a run."""

    run: RunDir
    """Its run; the checkpoint's own directory where that was copied away from its run."""
    step: int
    """Optimizer steps done."""
    directory: Path
    """The directory of the checkpoint."""
    why: str = ""
    """Why it is this one, in a few words, where its step was not named."""

    @property
    def name(self) -> str:
        """What the moment is called, after the `@` and in names of files: `step-400`."""
        return f"step-{self.step}"


def find_moment(place: PathLike) -> Moment | None:
    """The checkpoint that is meant; None for all that is not a moment of a run.

    Args:
        place: A run, `RUN@step-400`, `RUN@400`, `RUN@last`, `RUN@best`, or the directory of a checkpoint. A finished
            run is not a moment, its model is meant; nor is another model, or a path where nothing is.

    Raises:
        CheckpointError: The run has no such checkpoint, or none yet; the steps that are there are named. Or the
            description of the checkpoint is damaged.
    """
    path = Path(place)
    if os.path.lexists(path):
        return _at(path)
    if names_checkpoint(path) and (run := run_of(path)).checkpoints.is_dir():
        raise CheckpointError(f"{run}: has no checkpoint {path.name}", hint=_there(run))
    before, at, word = str(path).rpartition("@")
    run = RunDir(Path(before))
    if not at or not run.root.is_dir():
        return None
    match = _MOMENT.fullmatch(word)
    if not is_run(run):
        if match is None:
            return None
        raise CheckpointError(f"{run}: is not a training run, so there is no {word!r} of it")
    if match is None:
        raise CheckpointError(f"{place}: {word!r} is not a moment of a run, expected {_EXPECTED}", hint=_there(run))
    if match["best"]:
        return _best(run)
    if match["last"]:
        return _newest(run, "the newest checkpoint")
    step = int(match["step"])
    for found, directory in list_checkpoints(run):
        if found == step:
            return Moment(run=run, step=step, directory=directory)
    raise CheckpointError(f"{run}: has no checkpoint of step {step}", hint=_there(run))


def whole_run(place: PathLike, command: str) -> RunDir:
    """The run that a command takes as a whole, which a moment of it does not stand for.

    Args:
        place: What the user named.
        command: The command, with `{}` for the run, for the hint.

    Raises:
        CheckpointError: It is a moment of a run, or no run.
    """
    run = RunDir(Path(place))
    if run.config.is_file():
        return run
    if (moment := find_moment(place)) is not None and moment.run.config.is_file():
        typed = command.format(shlex.quote(str(moment.run)))
        raise CheckpointError(f"{place}: is a moment of a run, here the run is meant", hint=f"`{typed}`")
    raise CheckpointError(f"{place}: is not a run of Puna (there is no config.toml)")


def is_word(word: str) -> bool:
    """Whether a word after an `@` is that of a moment: `step-400`, `400`, `last` or `best`."""
    return _MOMENT.fullmatch(word) is not None


def is_run(run: RunDir) -> bool:
    """Whether a directory is that of a training run, finished or not."""
    return run.checkpoints.is_dir() or run.has_model or (run.config.is_file() and run.metrics.is_file())


def _at(path: Path) -> Moment | None:
    """The moment that an existing path is."""
    if is_checkpoint(path):
        state, _ = read_header(path)
        return Moment(run=run_of(path), step=state.step, directory=path)
    run = RunDir(path)
    if run.has_model or not is_run(run):
        return None
    return _newest(run, "the newest checkpoint of an unfinished run")


def run_of(checkpoint: Path) -> RunDir:
    """The run of a checkpoint; one that was copied to another place is on its own."""
    plain = len(checkpoint.parts) > 2 and ".." not in checkpoint.parts
    path = checkpoint if plain else Path(os.path.abspath(checkpoint))
    run = RunDir(path.parent.parent)
    return run if run.checkpoints == path.parent else RunDir(checkpoint)


def _newest(run: RunDir, why: str) -> Moment:
    checkpoints = list_checkpoints(run)
    if not checkpoints:
        raise CheckpointError(_no_checkpoint(run), hint=_there(run))
    step, directory = checkpoints[-1]
    return Moment(run=run, step=step, directory=directory, why=why)


def _no_checkpoint(run: RunDir) -> str:
    return f"{run}: has no {'checkpoints' if run.has_model else 'finished model and no checkpoint yet'}"


def _best(run: RunDir) -> Moment:
    """The kept checkpoint with the lowest figure; this module's beginning states the rule."""
    checkpoints = list_checkpoints(run)
    if not checkpoints:
        raise CheckpointError(_no_checkpoint(run), hint=_there(run))
    figures = heldout_figures(run, read_header(checkpoints[-1][1])[0].recipe.get("mixture", {}))
    measured = {step: max((at for at in figures if at <= step), default=None) for step, _ in checkpoints}
    known = [(step, directory, at) for step, directory in checkpoints if (at := measured[step]) is not None]
    if not known:
        raise CheckpointError(
            f"{run}: no validation was made up to its checkpoints, so none of them is known to be the best",
            hint=_there(run),
        )
    step, directory, at = min(known, key=lambda one: figures[one[2]])
    where = "" if at == step else f" at step {at}"
    why = f"the lowest of the kept checkpoints on held-out text: {figures[at]:.4f} bits per byte{where}"
    return Moment(run=run, step=step, directory=directory, why=why)


def heldout_figures(run: RunDir, shares: Mapping[str, float]) -> dict[int, float]:
    """The mean bits per byte of held-out text, by the step of the validation.

    Args:
        run: The run; a line of its metrics that is damaged is passed over.
        shares: The weight of each source; all count the same where it has none of a line's.
    """
    figures: dict[bool, dict[int, float]] = {False: {}, True: {}}
    for line in read_metrics(run.metrics):
        if line.get("kind") == ValidationLine.kind and (figure := _mean(line.get("bits_per_byte"), shares)) is not None:
            figures[line.get("final") is True][line["step"]] = figure
    return figures[False] or figures[True]


def _mean(bits: Any, shares: Mapping[str, float]) -> float | None:
    """The mean over sources, or None where a figure is missing or not finite."""
    if not isinstance(bits, dict) or not bits:
        return None
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in bits.values()):
        return None
    weights = {source: shares.get(source, 0.0) for source in bits}
    if not sum(weights.values()):
        weights = dict.fromkeys(bits, 1.0)
    return sum(bits[source] * weight for source, weight in weights.items()) / sum(weights.values())


def _there(run: RunDir) -> str:
    """The hint of an error: which moments there are."""
    steps = [step for step, _ in list_checkpoints(run)]
    if not steps:
        if run.has_model:
            return f"{run} alone is its finished model"
        goes_on = shlex.join(["puna", run.command, str(run.config), "--run-dir", str(run), "--resume"])
        return f"`{goes_on}` goes on with it" if run.config.is_file() else ""
    shown = [str(step) for step in steps]
    if len(steps) > _LISTED:
        shown = [*shown[: _LISTED // 2], "…", *shown[-_LISTED // 2 :]]
    return (
        f"there {'is step' if len(steps) == 1 else 'are steps'} {', '.join(shown)}; checkpoint.keep and "
        "checkpoint.keep_every of the recipe say which are kept"
    )
