"""A process with a model: started, killed, and ended with whoever started it."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from light_loaders import Killed, Silent
from listening import until

from puna.core.errors import UserError
from puna.serve.process import ModelProcess, ended_how

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.mark.parametrize(
    ("code", "how"),
    [
        (3, "with exit code 3"),
        (-signal.SIGSEGV, "by SIGSEGV"),
        (-signal.SIGKILL, "by SIGKILL, as the system ends processes where memory is short"),
    ],
)
def test_how_a_process_ended_is_told(code: int, how: str) -> None:
    assert ended_how(code) == how


def test_a_process_that_is_killed_while_it_loads_is_an_error_that_says_so() -> None:
    with pytest.raises(UserError, match="the process that loads the model ended by SIGKILL"):
        asyncio.run(ModelProcess.start(Killed()))


def test_where_the_system_gives_no_process_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*args: Any, **named: Any) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", none)
    with pytest.raises(UserError, match="cannot be started: Resource temporarily unavailable"):
        asyncio.run(ModelProcess.start(Silent()))


def test_a_process_that_is_ended_says_no_more_and_is_gone() -> None:
    async def work() -> None:
        process = await ModelProcess.start(Silent())
        assert process.about.title == "nothing"
        assert await process.end() == 0
        with pytest.raises(EOFError):
            await process.receive()
        process.send((0, None))
        with pytest.raises(ProcessLookupError):
            os.kill(process.pid, 0)

    asyncio.run(work())


def test_where_the_server_is_killed_the_models_process_ends() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(FIXTURES)!r})\n"
        "import asyncio\nfrom light_loaders import Silent\nfrom puna.serve.process import ModelProcess\n"
        "async def work():\n"
        "    process = await ModelProcess.start(Silent())\n"
        "    print(process.pid, flush=True)\n"
        "    await asyncio.sleep(1000)\n"
        "asyncio.run(work())\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        pid = int(server.stdout.readline())
        server.kill()
    until(lambda: not _lives(pid))


def _lives(pid: int) -> bool:
    """Whether a process computes on; one that waits to be reaped by its new parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
