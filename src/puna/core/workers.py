"""Processes that work for this one, and end with it, however it ends."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any

from puna.core.errors import DataError


@contextmanager
def worker_pool(
    workers: int, begin: Callable[..., object], *arguments: Any, killed: str, hint: str
) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes; an error in the `with` block kills them, and what they have not finished is lost.

    Args:
        workers: How many processes there are at most.
        begin: Called in each of them before its first work.
        *arguments: Of `begin`; sent once to each.
        killed: The sentence where the system has killed one of them.
        hint: What a user can do then.

    Raises:
        DataError: A process was killed.
    """
    context = multiprocessing.get_context("forkserver")
    # Nothing is ever sent: a closed end tells the workers that this process is gone.
    watched, held = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(watched, begin, arguments))
    try:
        yield pool
    except BrokenProcessPool:
        raise DataError(killed, hint=hint) from None
    except BaseException:
        for process in multiprocessing.active_children():
            process.kill()  # nothing is lost: unfinished files have no names yet
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        held.close()
        watched.close()


def _begin(watched: Connection, begin: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the first process ends the others
    begin(*arguments)
    threading.Thread(target=_die_with, args=(watched,), daemon=True).start()


def _die_with(watched: Connection) -> None:
    """End this process when the first one is gone for any reason."""
    with suppress(EOFError, OSError):
        watched.recv()
    os._exit(1)
