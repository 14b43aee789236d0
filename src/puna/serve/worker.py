"""The process of a model: it loads it, then computes what comes through a socket until the other end is closed.

The model is computed in one thread, to which the engine belongs. Between two steps it takes what has come; with
nothing to do it sleeps in the kernel. Guides are compiled in another thread, and only then do their requests come to
the engine. A third thread waits for nothing but the end of the server, which may be killed while a model is loaded or a
long step is computed.
"""

import gc
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from puna.core.errors import GenerateError, Interrupted, UserError
from puna.core.packages import missing_package
from puna.core.terminate import orderly_end
from puna.serve import wire

if TYPE_CHECKING:
    from puna.infer.engine import Engine
    from puna.infer.requests import Request

    Loader: TypeAlias = Callable[[], tuple[Engine, wire.About]]
    """Makes an engine, and says what it is; it is pickled on its way to the process."""

_LAST_S = 5.0
"""Seconds in which an interrupted thread removes what it half wrote; more are not given."""


def main(descriptor: int) -> None:
    """Be the process of a model.

    Args:
        descriptor: Of a connected socket, whose first message is the loader.
    """
    end = socket.socket(fileno=descriptor)  # never closed here: after an error, its end shall be the process's
    threading.Thread(target=_end_with, args=(end,), daemon=True).start()
    try:
        with orderly_end():
            Work(_loaded(end), end).run()
    except (EOFError, BrokenPipeError, ConnectionResetError, Interrupted):
        os._exit(0)  # nobody listens any more, and Python's own end takes a second with torch


def _loaded(end: socket.socket) -> "Engine":
    """The engine, after what it is was told, or why there is none."""
    gc.disable()  # it would go over all that imports and files make
    try:
        engine, about = wire.receive(end)()
    except UserError as error:
        _fail(end, error)
    except ModuleNotFoundError as error:
        if (missing := missing_package(error)) is None:
            raise
        _fail(end, missing)
    finally:
        gc.freeze()
        gc.enable()
    end.sendall(wire.frame(about))
    return engine


def _fail(end: socket.socket, error: UserError) -> NoReturn:
    end.sendall(wire.frame(wire.Failure(error.message, error.hint)))
    raise EOFError


class Work:
    """What a process does once its model is loaded.

    Args:
        engine: The model's.
        end: Where requests come from and events go.
    """

    def __init__(self, engine: "Engine", end: socket.socket) -> None:
        self._engine, self._end = engine, end
        self._numbers: dict[int, int] = {}
        """Of the requests that are open, the server's number by the engine's."""
        self._own: dict[int, int] = {}
        self._left: dict[int, int] = {}
        """Samples that have not ended, by the server's number."""
        self._read: list[wire.Read] = []
        self._compiler = ThreadPoolExecutor(1, "guides")
        self._compiling: dict[int, tuple[Request, Future[None]]] = {}
        """Requests whose guides are compiled, which may take as long as many steps; none waits for it but they."""
        self._cancelled: set[int] = set()
        """Those of them that were given up meanwhile."""
        self._woken, self._waker = socket.socketpair()

    def run(self) -> NoReturn:
        """Take requests and compute them.

        Raises:
            EOFError: The other end is closed.
        """
        with self._woken, self._waker, self._compiler:
            while True:
                while ready := select.select([self._end, self._woken], [], [], 0 if self._engine.busy else None)[0]:
                    if self._woken in ready:
                        self._woken.recv(1)
                        self._take_compiled()
                    if self._end in ready:
                        self._take(wire.receive(self._end))
                self._step()

    def _take(self, asked: wire.Asked) -> None:
        number, request = asked
        if request is None:
            if (waiting := self._compiling.get(number)) is not None:
                if waiting[1].cancel():  # it has not begun
                    del self._compiling[number]
                else:
                    self._cancelled.add(number)
            elif (own := self._own.get(number)) is not None:
                self._engine.cancel(own)
        elif request.guide is None:
            self._add(number, request)
        else:
            compiled = self._compiler.submit(self._engine.prepare, request)
            self._compiling[number] = request, compiled
            compiled.add_done_callback(lambda _: self._waker.send(b"."))

    def _take_compiled(self) -> None:
        """Add requests whose guides are compiled, or cannot be."""
        for number in [number for number, (_, compiled) in self._compiling.items() if compiled.done()]:
            request, compiled = self._compiling.pop(number)
            self._add(number, request, compiled.exception())
            if number in self._cancelled:
                self._cancelled.remove(number)
                self._take((number, None))

    def _add(self, number: int, request: "Request", problem: BaseException | None = None) -> None:
        try:
            if problem is not None:
                raise problem
            own = self._engine.add(request)
        except GenerateError as error:
            self._end.sendall(wire.frame(wire.Refused(number, error.message, error.hint)))
            return
        self._numbers[own], self._own[number], self._left[number] = number, own, request.n

    def _step(self) -> None:
        """Compute; an error that is not a request's ends the process, and with it all that may be damaged."""
        events = [wire.slim(event, self._numbers[event.request]) for event in self._engine.step()]
        for number, _, _, _, end in events:
            if end is not None:
                self._ended(number)
        read = [(self._numbers[own], computed, total) for own, computed, total in self._engine.progress()]
        if events or read != self._read:
            self._end.sendall(wire.frame(wire.Step(events, read)))
        self._read = read

    def _ended(self, number: int) -> None:
        self._left[number] -= 1
        if not self._left[number]:
            del self._numbers[self._own.pop(number)], self._left[number]


def _end_with(end: socket.socket) -> None:
    """Wait until the other end is closed, then end this process."""
    poll = select.poll()
    poll.register(end.fileno(), 0)  # what is always told is the end of the connection
    poll.poll()
    os.kill(os.getpid(), signal.SIGTERM)  # as `orderly_end` has it, in the main thread
    time.sleep(_LAST_S)
    os._exit(1)
