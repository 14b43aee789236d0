"""A process of a model as the server sees it: started, spoken to, ended."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from puna.core.errors import UserError
from puna.serve import wire

if TYPE_CHECKING:
    from puna.serve.worker import Loader

_START = "import sys; sys.path[:] = sys.argv[2:]; from puna.serve.worker import main; main(int(sys.argv[1]))"
_LAST_S = 10.0
"""Seconds that a process has to end in order."""


def ended_how(code: int) -> str:
    """How a process ended that was not asked to, as the rest of a sentence."""
    if code >= 0:
        return f"with exit code {code}"
    why = ", as the system ends processes where memory is short" if code == -signal.SIGKILL else ""
    return f"by {signal.Signals(-code).name}{why}"


class ModelProcess:
    """A process with a loaded model; `start` makes it.

    It is a plain Python and not a copy of this one or of the program that runs here, so a script that serves needs no
    guard around its first line, and nothing that this process has open is open there.
    """

    about: wire.About
    """What it says of its model."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process, self._reader, self._writer = process, reader, writer

    @classmethod
    async def start(cls, loader: "Loader") -> "ModelProcess":
        """A process that has loaded its model.

        Raises:
            UserError: The model cannot be loaded, as the loader says, the process ended before it was, or the system
                gives none.
        """
        try:
            process, ours = _spawned()
        except OSError as failure:
            why = os.strerror(failure.errno or 0)
            raise UserError(f"a process for the model cannot be started: {why}") from None
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        made = cls(process, reader, writer)
        try:
            made.send(loader)
            about = await made.receive()
        except EOFError:
            raise UserError(f"the process that loads the model ended {ended_how(await made.end())}") from None
        except BaseException:  # cancelled: the server ends before it began
            await made.end()
            raise
        if isinstance(about, wire.Failure):
            await made.end()
            raise UserError(about.message, hint=about.hint)
        made.about = about
        return made

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def send(self, message: Any) -> None:
        """Send a message, without waiting; to a process that has ended it goes nowhere."""
        self._writer.write(wire.frame(message))

    async def receive(self) -> Any:
        """The next message.

        Raises:
            EOFError: The process has ended.
        """
        try:
            return await wire.received(self._reader)
        except ConnectionError:
            raise EOFError from None

    def hang_up(self) -> None:
        """Let the process end; whoever waits for its next message hears so."""
        self._writer.close()

    async def end(self) -> int:
        """End the process, if it has not ended; returns its exit code, or less than 0 for a signal's number."""
        self.hang_up()
        try:
            code = await asyncio.to_thread(self._process.wait, _LAST_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = await asyncio.to_thread(self._process.wait)
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()
        return code


def _spawned() -> "tuple[subprocess.Popen[bytes], socket.socket]":
    """A process that waits for its loader, and this end of its socket."""
    ours, theirs = socket.socketpair()
    with contextlib.ExitStack() as failed, theirs:
        failed.callback(ours.close)
        command = [sys.executable, "-P", "-c", _START, str(theirs.fileno()), *filter(None, sys.path)]
        # In a session of its own: Ctrl-C is the server's, which lets requests end.
        process = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        failed.pop_all()
    return process, ours
