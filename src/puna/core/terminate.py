"""An orderly end on SIGTERM and SIGHUP: half-written files are removed, as when Ctrl-C ends a command."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any, NoReturn

from puna.core.errors import Interrupted


@contextlib.contextmanager
def orderly_end() -> Iterator[None]:
    """While entered, SIGTERM and SIGHUP raise `Interrupted` in the main thread, the only one that can ask for it.

    SIGHUP, the end of a terminal or connection, stays ignored where this process ignores it, as under `nohup`.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    if before[signal.SIGHUP] == signal.SIG_IGN:
        del before[signal.SIGHUP]
    for number in before:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, frame: Any) -> NoReturn:
    raise Interrupted(number)
