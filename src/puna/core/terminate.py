"""SIGTERM as an end in good order: what is half-written is removed, as when Ctrl-C ends a command."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any, NoReturn


@contextlib.contextmanager
def orderly_end() -> Iterator[None]:
    """While entered, SIGTERM unwinds this process, which then exits with 128 + 15. Only the main thread can ask it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(number: int, frame: Any) -> NoReturn:
    raise SystemExit(128 + number)
