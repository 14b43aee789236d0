"""How a run came to be: its sessions with the steps that each of them added, and how it is gone on with."""

import shlex
from dataclasses import dataclass

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
    return shlex.join(["puna", "train", str(run.run.config), "--run-dir", str(run.run), "--resume"])
