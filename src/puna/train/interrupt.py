"""Ctrl-C and SIGTERM while training: finish the step, save, leave. A second Ctrl-C leaves at once."""

import signal
from types import FrameType, TracebackType
from typing import Self


class Interrupt:
    """While entered, remembers the first SIGINT or SIGTERM instead of dying of it."""

    def __init__(self) -> None:
        self.signal: int | None = None
        """The number of the signal that came, if one did."""
        self._previous: dict[int, object] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._remember)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    @property
    def exit_code(self) -> int:
        """What a shell, Slurm and torchrun expect of a process that a signal ended: 128 and its number."""
        return 128 + (self.signal or 0)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        # Nothing is printed here: whoever read our messages may have been ended by the same Ctrl-C.
        self.signal = number
