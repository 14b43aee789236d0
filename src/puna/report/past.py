"""How a run came to be: its sessions with the steps that each of them added, how it is gone on with and made again."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from puna.core.schema.lines import SessionLine
from puna.report.figures import devices
from puna.report.read import RunRecords


@dataclass(frozen=True)
class Session:
    """A start or resume of the run, with what it added."""

    line: SessionLine
    steps: str
    """The steps that it added and that stayed, in words."""

    @property
    def devices(self) -> str:
        """The devices that it ran on, with their number where there are several."""
        return devices(self.line.devices, self.line.device)


def sessions(run: RunRecords) -> list[Session]:
    """All sessions, in their order.

    A session goes on from a checkpoint, so of the one before it only the steps up to there stayed.
    """
    begins = [line.step for line in run.sessions]
    found = []
    for index, line in enumerate(run.sessions):
        end = min([*begins[index + 1 :], run.step])
        last = index == len(begins) - 1
        if end > line.step:
            steps = f"{line.step + 1:,} to {end:,}"
        elif last and run.record is None:
            steps = "none yet"
        else:
            steps = "none" if last else "none that stayed"
        found.append(Session(line, steps))
    return found


def goes_on(run: RunRecords) -> str:
    """The command that goes on with the run, as it can be typed where this page was asked for."""
    return shlex.join(["puna", run.run.command, str(run.run.config), "--run-dir", str(run.run), "--resume"])


@dataclass(frozen=True)
class Again:
    """How a run is made once more, from its recipe in a file."""

    train: str
    """The command that trains it, in one line of a shell."""
    run: str
    """Where that puts it."""
    parent: str
    """The moment of another run that must be there, too; empty where the recipe is enough."""


def again(run: RunRecords) -> Again:
    """How to make a finished run once more.

    The recipe of an extended run has the rates of all of its steps; a branch needs the moment that it began at besides.
    """
    branches = [parent for parent in run.lineage if parent.how == "branched"]
    if not branches:
        return Again(f"puna {run.run.command} recipe.toml", f"runs/{run.config.name}", "")
    parent, own = branches[-1], f"runs/{run.run.root.resolve().name}"
    moment = parent.place
    if Path(moment).parent.name != run.run.checkpoints.name:
        # Where @last or @best leads to may have changed since.
        place = moment.rpartition("@")[0] or moment
        moment = f"{place}@step-{parent.step}"
    return Again(shlex.join(["puna", "train", "recipe.toml", "--branch-from", moment, "--run-dir", own]), own, moment)
