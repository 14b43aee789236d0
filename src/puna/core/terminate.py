"""An orderly end on SIGTERM: half-written files are removed, as when Ctrl-C ends a command."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any, NoReturn

from puna.core.errors import Interrupted


@contextlib.contextmanager
def orderly_end() -> Iterator[None]:
    """While entered, SIGTERM raises `Interrupted` in this process's main thread, the only one that can ask for it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(number: int, frame: Any) -> NoReturn:
    raise Interrupted(number)
