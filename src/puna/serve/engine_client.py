"""A model by its name: its process, its queue, and what is asked of it, all within the server's event loop.

The engine gets as many sequences as run at once and no more; what is beyond waits here, where callers take turns, and
where a request that is given up or that takes too long leaves no trace. A process that ends takes the requests with it
that it was computing. It is started again, at once the first time, then after pauses that double; what waits goes on
waiting.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from puna.chat.template import ChatTemplate
from puna.core.console import say, warn
from puna.core.errors import UserError
from puna.infer.requests import Event, Request, check
from puna.serve import wire
from puna.serve.asked import Asked
from puna.serve.caller import ANYONE, Caller
from puna.serve.errors import ApiError
from puna.serve.process import ModelProcess, ended_how
from puna.serve.served_model import Progress, State
from puna.serve.turns import Turns

if TYPE_CHECKING:
    from puna.serve.worker import Loader

_LONGEST_PAUSE_S = 60.0
"""Between two tries to load a model."""
_KEPT = 8
"""One in this number of sequences is kept for callers that have none at work, so that nobody who comes waits for
another's long texts to end."""
_STEADY_S = 60.0
"""A process that lived so long did not end because of its start: the next one starts at once."""


@dataclass(frozen=True, kw_only=True)
class EngineLimits:
    """What may be asked of a model."""

    queue: int = 256
    """Requests that wait, at most; a caller for whom none waits may always add one."""
    request_s: float | None = 600.0
    """Seconds that a request takes at most, its time in the queue included; None is without end."""
    unload_s: float | None = None
    """Seconds without a request after which the model's process ends and its memory is free; None is never."""


class EngineClient:
    """Implements `ServedModel`; it belongs to the event loop in which it is started.

    Args:
        name: What requests call it by.
        loader: Loads it, in a process of its own.
        limits: What may be asked of it.
    """

    def __init__(self, name: str, loader: "Loader", limits: EngineLimits) -> None:
        self.name = name
        self.created = int(time.time())
        self.state: State = "loading"
        self.parent: str | None = None
        self._loader, self._limits = loader, limits
        self._waiting: Turns[Asked] = Turns()
        """What the engine has not got yet."""
        self._running: dict[int, Asked] = {}
        """What the engine has, by the numbers that both know it by."""
        self._next = 0
        self._at_once = self._room = 0
        """Sequences that the engine would begin at once."""
        self._process: ModelProcess | None = None
        self._unloading = self._stopping = False
        self._wanted, self._empty = asyncio.Event(), asyncio.Event()
        self._empty.set()
        self._idle: asyncio.TimerHandle | None = None
        self._life: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Requests that wait for their turn."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Requests that the engine has."""
        return len(self._running)

    @property
    def pid(self) -> int | None:
        """The number of the model's process; None while there is none."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Load the model, and keep a process for it from now on.

        Raises:
            UserError: It cannot be loaded.
        """
        process = await ModelProcess.start(self._loader)
        about = process.about
        self.title, self.config, self.longest = about.title, about.config, about.longest
        self.tokenizer = about.tokenizer
        self._adapter = about.adapter
        try:
            self.template = _template(about.template, about)
            self.templates = {name: _template(source, about) for name, source in about.templates.items()}
            """Of the adapters that requests may choose, by their names."""
        except UserError:
            await process.end()
            raise
        self._begin(process)
        self._life = asyncio.create_task(self._live(process))

    def refuse_new(self) -> None:
        """Take no more requests, and finish those that were taken."""
        self._stopping = True

    async def stop(self, grace_s: float = 0.0) -> None:
        """Take no more requests, wait for those that were taken, then end the process.

        Args:
            grace_s: Seconds that are waited; requests that are not done by then end with an error.
        """
        self.refuse_new()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._empty.wait()
        self._fail_waiting(_stops)
        self._fail_running(_stops)
        if self._life is not None:
            self._life.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._life
        if self._process is not None:  # its task had not begun yet
            await self._process.end()
            self._process = None
        self.state = "stopped"

    def ask(self, request: Request, caller: Caller) -> AsyncGenerator[Event | Progress]:
        """As `ServedModel.ask`; what can be refused now is refused here, before anything is awaited."""
        check(request, self.config, longest=self.longest)
        self._refuse(caller)
        request = replace(request, salt=caller.salt, adapter=request.adapter or self._adapter)
        return self._answer(request, caller)

    async def _answer(self, request: Request, caller: Caller) -> AsyncGenerator[Event | Progress]:
        self._refuse(caller)  # others may have come in between
        asked = Asked(self._next, request, caller.name)
        self._next += 1
        self._put(asked)
        limit = self._limits.request_s
        expiry = None if limit is None else asyncio.get_running_loop().call_later(limit, self._expire, asked)
        try:
            while (event := await asked.next()) is not None:
                yield event
        finally:
            if expiry is not None:
                expiry.cancel()
            self._give_up(asked)

    def _refuse(self, caller: Caller) -> None:
        if self._stopping:
            raise _stops()
        if self.state == "failed":
            raise _not_loaded()
        if self.waiting >= self._limits.queue and self._waiting.of(caller.name):
            raise ApiError(
                429, f"{self.waiting} requests wait for this model, and more may not", code="queue_full", retry_s=1
            )

    # What is asked.

    def _put(self, asked: Asked) -> None:
        self._waiting.add(asked.caller, asked)
        self._empty.clear()
        self._wanted.set()
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        self._send()

    def _send(self) -> None:
        """Give the engine what it has room for."""
        process = self._process
        while process is not None and not self._unloading and (asked := self._waiting.first()) is not None:
            kept = (
                0 if asked.caller == ANYONE.name or not self._waiting.at_work(asked.caller) else self._at_once // _KEPT
            )
            if asked.left > self._room - kept and self._running:
                return  # more samples than run at once have the engine for themselves
            self._waiting.take(asked.left)
            self._room -= asked.left
            self._running[asked.number] = asked
            process.send((asked.number, asked.request))

    def _give_up(self, asked: Asked) -> None:
        """Nobody waits for this any more; nothing happens where it is done."""
        if self._running.pop(asked.number, None) is not None:
            if self._process is not None:
                self._process.send((asked.number, None))
            self._ended(asked, asked.left)
        elif not asked.over:
            self._waiting.remove(asked.caller, asked)
        asked.over = True
        self._settle()

    def _ended(self, asked: Asked, samples: int) -> None:
        asked.left -= samples
        self._room += samples
        self._waiting.done(asked.caller, samples)
        if not asked.left:
            asked.over = True
            self._running.pop(asked.number, None)

    def _settle(self) -> None:
        """Something ended: others may begin, or there is nothing to do."""
        self._send()
        if self._running or self._waiting:
            return
        self._empty.set()
        self._wanted.clear()
        if self._limits.unload_s is not None and self._process is not None and self._idle is None:
            self._idle = asyncio.get_running_loop().call_later(self._limits.unload_s, self._unload)

    def _expire(self, asked: Asked) -> None:
        if asked.over:  # all of it is written, and its reader is slow
            return
        where = "while the model wrote" if asked.number in self._running else "before its turn came"
        self._give_up(asked)
        asked.fail(
            ApiError(503, f"the request's time is over, {self._limits.request_s:g} s, {where}", code="request_timeout")
        )

    def _fail_waiting(self, error: Callable[[], ApiError]) -> None:
        for asked in self._waiting.clear():
            asked.over = True
            asked.fail(error())
        self._settle()

    def _fail_running(self, error: Callable[[], ApiError]) -> None:
        for asked in [*self._running.values()]:
            self._ended(asked, asked.left)
            asked.fail(error())
        self._settle()

    # What the process says, and how it lives.

    def _begin(self, process: ModelProcess) -> None:
        self._process, self.state = process, "ready"
        self._at_once = self._room = process.about.at_once
        self._settle()

    async def _live(self, process: ModelProcess) -> None:
        """Listen to the process; when it ends, keep another one."""
        crashes = 0
        while True:
            began = time.monotonic()
            try:
                with contextlib.suppress(EOFError):
                    while True:
                        self._hear(await process.receive())
            finally:
                self._process, self.state = None, "loading"
                code = await process.end()
            if self._unloading:
                self._unloading, self.state, crashes = False, "unloaded", 0
                await self._wanted.wait()
                self.state = "loading"
            else:
                crashes = 1 if time.monotonic() - began > _STEADY_S else crashes + 1
                warn(f"{self.name}: the model's process ended {ended_how(code)}, and is started again")
                self._fail_running(_crashed)
            process = await self._loaded(crashes)
            self._begin(process)

    async def _loaded(self, crashes: int) -> ModelProcess:
        """Another process with the model, as soon as there is one."""
        pause = 0.0 if crashes <= 1 else min(2.0 ** (crashes - 2), _LONGEST_PAUSE_S)
        while True:
            await asyncio.sleep(pause)
            try:
                process = await ModelProcess.start(self._loader)
                about = process.about
                if (about.config, about.tokenizer.sha256) == (self.config, self.tokenizer.sha256):
                    if self.state == "failed":
                        say(f"{self.name}: is loaded again")
                    return process
                await process.end()
                raise UserError("the files are another model's than when the server began", hint="start it again")
            except UserError as error:
                warn(f"{self.name}: {error}")
            self.state = "failed"
            self._fail_waiting(_not_loaded)
            pause = min(max(2 * pause, 1.0), _LONGEST_PAUSE_S)

    def _hear(self, message: wire.Step | wire.Refused) -> None:
        if isinstance(message, wire.Refused):
            if (asked := self._running.get(message.number)) is not None:
                self._ended(asked, asked.left)
                asked.fail(ApiError(400, message.message))
        else:
            for told in message.events:
                if (asked := self._running.get(told[0])) is not None:  # else it was given up
                    asked.tell(told)
                    if told[4] is not None:
                        self._ended(asked, 1)
            for number, computed, total in message.read:
                if (asked := self._running.get(number)) is not None:
                    asked.progress(Progress(computed, total))
        self._settle()

    def _unload(self) -> None:
        self._idle = None
        if self._process is not None:
            self._unloading = True
            self._process.hang_up()


def _template(source: str | None, about: wire.About) -> ChatTemplate | None:
    return None if source is None else ChatTemplate(source, about.tokenizer)


def _stops() -> ApiError:
    return ApiError(503, "the server stops", code="server_stopping")


def _crashed() -> ApiError:
    return ApiError(500, "the process that computes this model ended; it is started again")


def _not_loaded() -> ApiError:
    return ApiError(503, "the model cannot be loaded at the moment; the server's log says why", retry_s=10)
