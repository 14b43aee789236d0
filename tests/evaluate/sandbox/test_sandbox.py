"""What is said of programs, which isolation is chosen, and that nothing is left behind."""

import contextlib
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from confined import Run

from puna.core.errors import EvaluateError
from puna.evaluate.sandbox import sandbox
from puna.evaluate.sandbox.sandbox import (
    Isolation,
    Limits,
    Outcome,
    code_execution_allowed,
    find_isolation,
    permitted_isolation,
    run_program,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="programs are run on Linux only")


def test_a_program_that_comes_to_its_end_passes(attempt: Run) -> None:
    assert attempt("import heapq, re, math\nassert math.comb(4, 2) == 6") == Outcome(passed=True, error="")


@pytest.mark.parametrize(
    "program",
    [
        "import doctest\ndef f(x):\n    '''\n    >>> f(1)\n    2\n    '''\n    return x + 1\ndoctest.testmod()\n"
        "assert f(1) == 2",
        "import __main__\nx = 1\nassert __main__.x == 1",
        "if __name__ == '__main__':\n    raise ValueError",
    ],
)
def test_a_solution_with_tests_of_its_own_is_not_held_against_it(attempt: Run, program: str) -> None:
    assert attempt(program) == Outcome(passed=True, error="")


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("assert 1 == 2, 'no'", "AssertionError: no"),
        ("assert 1 == 2", "AssertionError"),
        ("def f(:", "SyntaxError: invalid syntax (program, line 1)"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("import sys\nsys.exit(0)", "SystemExit: 0"),
        ("import os\nos._exit(0)", "ended before its tests were through"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("input()", "EOFError: EOF when reading a line"),
        ("x = 1\nreturn", "SyntaxError: 'return' outside function"),
        ("x = '\ud800'; assert not x", "UnicodeEncodeError"),
        ("class E(Exception):\n    def __str__(self): raise E\nraise E", "an exception without a text"),
        ("raise ValueError('x' * 10**6)", "ValueError: " + "x" * 288),
        ("import numpy", "ModuleNotFoundError: No module named 'numpy'"),
    ],
)
def test_a_program_that_does_not_come_to_its_end_fails_with_a_reason(program: str, error: str) -> None:
    outcome = run_program(program, isolation=find_isolation())
    assert not outcome.passed
    assert outcome.error.startswith(error)
    assert len(outcome.error) <= 300


@pytest.mark.parametrize(
    "program",
    [
        "print('{\"passed\": true}')",
        "import os\nos.write(3, b'ready\\n{\"passed\": true}\\n')",
        "import os\nos.write(3, b'0' * 32 + b' {\"passed\": true}\\n')\nos._exit(0)",
        "import os\nos.close(3)",
        "import os, sys\nos._exit = os.write = sys.exit = print\nraise ValueError",
        "import builtins\nbuiltins.AssertionError = None\nbuiltins.exec = None\nassert False",
        "import json\njson.dumps = lambda _: '{\"passed\": true}'\nassert False",
    ],
)
def test_what_a_program_does_by_chance_does_not_make_it_pass(program: str) -> None:
    """Not one that is written against the sandbox: that shares the interpreter with its judge, as the folder says."""
    assert not run_program(program + "\nassert False", isolation=find_isolation()).passed


@pytest.mark.parametrize("program", ["import time\ntime.sleep(1000)", "os.close(3)\nimport signal\nsignal.pause()"])
def test_waiting_is_bounded_and_leaves_no_process(attempt: Run, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    groups: list[int] = []
    killpg = os.killpg
    monkeypatch.setattr(os, "killpg", lambda group, number: (groups.append(group), killpg(group, number)))
    assert attempt(program, clock=1.0).error == "ran for more than 1 s"
    assert len(groups) == 1
    with pytest.raises(ProcessLookupError):
        killpg(groups[0], 0)


def test_a_program_that_says_much_is_not_listened_to(attempt: Run) -> None:
    assert attempt("for _ in range(1000): print('x' * 10**6)").passed
    flood = "try:\n    while True: os.write(3, b'x' * 65536)\nfinally: pass"
    assert not attempt(flood).passed


def test_what_hashes_of_texts_decide_is_the_same_in_each_run() -> None:
    program = "assert 0, list({str(i) for i in range(20)})"
    first = run_program(program, isolation=find_isolation())
    assert first.error.startswith("AssertionError: ['")
    assert run_program(program, isolation=find_isolation()) == first


def test_the_room_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox.tempfile, "tempdir", str(tmp_path))
    assert run_program("x = 1", isolation=find_isolation()).passed
    assert list(tmp_path.iterdir()) == []


def test_a_sandbox_that_cannot_be_set_up_says_nothing_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "filter_program", lambda _: b"\0" * 8)
    with pytest.raises(EvaluateError, match="the sandbox for programs could not be set up: Invalid argument"):
        run_program("x = 1", isolation=find_isolation())


def test_a_kernel_without_a_filter_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "filter_program", lambda _: b"\0" * 8)
    find_isolation.cache_clear()
    with pytest.raises(EvaluateError, match="cannot be run here") as refusal:
        find_isolation()
    assert "seccomp" in refusal.value.hint


def test_a_filter_that_holds_nothing_back_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    allow_all = (0x06).to_bytes(2, "little") + b"\0\0" + (0x7FFF0000).to_bytes(4, "little")
    monkeypatch.setattr(sandbox, "filter_program", lambda _: allow_all)
    find_isolation.cache_clear()
    with pytest.raises(EvaluateError, match="a socket is not refused"):
        find_isolation()


def test_without_namespaces_and_landlock_the_filter_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that forbids both: what cannot be set up is passed over."""
    run = sandbox.run_program

    def forbidding(program: str, *, isolation: Isolation, limits: Limits) -> Outcome:
        if isolation.namespaces or isolation.landlock:
            raise EvaluateError("the sandbox for programs could not be set up: Operation not permitted, unshare")
        return run(program, isolation=isolation, limits=limits)

    monkeypatch.setattr(sandbox, "run_program", forbidding)
    find_isolation.cache_clear()
    assert find_isolation() == Isolation(namespaces=False, landlock=0)


@pytest.mark.parametrize(("system", "machine"), [("Darwin", "arm64"), ("Windows", "AMD64"), ("Linux", "riscv64")])
def test_systems_without_the_filter_refuse(monkeypatch: pytest.MonkeyPatch, system: str, machine: str) -> None:
    monkeypatch.setattr(sandbox.platform, "system", lambda: system)
    monkeypatch.setattr(sandbox.platform, "machine", lambda: machine)
    find_isolation.cache_clear()
    with pytest.raises(EvaluateError, match=f"which {system} on {machine} does not have"):
        find_isolation()


@pytest.fixture(autouse=True)
def fresh_probe() -> object:
    """Tests that change the machine leave no trace."""
    yield None
    find_isolation.cache_clear()


def test_nothing_runs_without_permission() -> None:
    with pytest.raises(EvaluateError, match="must be allowed") as refusal:
        permitted_isolation()
    assert "--allow-code-execution" in refusal.value.hint
    with code_execution_allowed() as isolation:
        assert permitted_isolation() == isolation == find_isolation()
        assert "filter of system calls" in isolation.title
    with pytest.raises(EvaluateError):
        permitted_isolation()


@pytest.mark.parametrize(
    "isolation",
    ["sandbox.find_isolation()", "sandbox.Isolation(namespaces=False, landlock=0)"],
    ids=["strongest", "weakest"],
)
def test_the_end_of_the_process_that_asked_ends_the_program(isolation: str) -> None:
    """SIGKILL leaves it no time to end anything itself. In the weakest isolation root becomes nobody on the way."""
    code = f"""
import os
from puna.evaluate.sandbox import sandbox
isolation, popen, read = {isolation}, sandbox.subprocess.Popen, os.read
def record(*arguments, **options):
    process = popen(*arguments, **options)
    print(process.pid, flush=True)
    return process
def tell(descriptor, size):
    found = read(descriptor, size)
    if found.startswith(b"ready"):
        print("ready", flush=True)
    return found
sandbox.subprocess.Popen, os.read = record, tell
if not isolation.namespaces:
    sandbox.library = lambda: ["/"]
sandbox.run_program("import time; time.sleep(600)", isolation=isolation, limits=sandbox.Limits(clock=600))
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as asker:
        assert asker.stdout is not None
        launcher = int(asker.stdout.readline())
        handle = os.pidfd_open(launcher)
        assert asker.stdout.readline() == "ready\n"
        asker.kill()
        asker.wait()
    try:
        assert select.select([handle], [], [], 30)[0] == [handle]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(launcher, signal.SIGKILL)
        os.close(handle)
