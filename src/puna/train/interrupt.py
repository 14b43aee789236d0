"""Ctrl-C, SIGTERM and SIGHUP while training: finish the step, save, leave. A second Ctrl-C leaves at once."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Self

from puna.core.errors import Interrupted


class Interrupt:
    """While entered, keeps the first of these signals instead of letting it end the process.

    SIGHUP stays ignored where this process ignores it, as under `nohup`; and only the main thread gets signals.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        """The number of the signal that came; None if there was none."""
        self._previous: dict[int, object] = {}
        self._leaves = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._remember)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """While entered, the first signal ends the process at once: for where there is nothing to save.

        Raises:
            Interrupted: It came, or had come before.
        """
        if self.signal is not None:
            raise Interrupted(self.signal)
        self._leaves = True
        try:
            yield
        finally:
            self._leaves = False

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        # Nothing is printed here: the same Ctrl-C may have ended the program that reads our messages.
        first, self.signal = self.signal is None, number
        if first and self._leaves:
            raise Interrupted(number)
