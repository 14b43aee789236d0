"""Programs that try to get out, in every isolation that this machine has."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from puna.core.errors import EvaluateError
from puna.evaluate.sandbox import sandbox
from puna.evaluate.sandbox.sandbox import (
    Isolation,
    Limits,
    Outcome,
    code_execution_allowed,
    find_isolation,
    library,
    permitted_isolation,
    run_program,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="programs are run on Linux only")

REFUSED = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)

def refused(action, *arguments):
    try:
        done = action(*arguments)
    except (OSError, RuntimeError) as error:
        assert isinstance(error, RuntimeError) or error.errno in (errno.EPERM, errno.EACCES), error
        return
    raise AssertionError(f"{action} did {done}")

def refused_call(number, *arguments):
    assert libc.syscall(number, *arguments) == -1 and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS), number
"""

LEVELS = {"best": None, "namespaces": (True, False), "Landlock": (False, True), "system calls": (False, False)}
OUTERMOST = ["best", "system calls"]
"""Of what namespaces and Landlock alone do not change."""

Run = Callable[..., Outcome]


@pytest.fixture(params=OUTERMOST)
def isolation(request: pytest.FixtureRequest) -> Isolation:
    """Each one in turn; those that this kernel does not have are skipped, the one that would be used never is."""
    best = find_isolation()
    wanted = LEVELS[request.param]
    if wanted is None:
        return best
    namespaces, landlock = wanted
    if namespaces > best.namespaces or landlock > bool(best.landlock):
        pytest.skip("this kernel does not have it, or does not let us")
    return Isolation(namespaces=namespaces, landlock=best.landlock if landlock else 0)


@pytest.fixture
def attempt(isolation: Isolation) -> Run:
    """Runs a program after the helpers that tell a refusal."""

    def run(program: str, **limits: float) -> Outcome:
        return run_program(REFUSED + program, isolation=isolation, limits=Limits(**limits))

    return run


def test_a_program_that_comes_to_its_end_passes(attempt: Run) -> None:
    assert attempt("import heapq, re, math\nassert math.comb(4, 2) == 6") == Outcome(passed=True, error="")


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
    assert outcome.error.startswith(error) and len(outcome.error) <= 300


@pytest.mark.parametrize(
    "program",
    [
        "print('{\"passed\": true}')",
        "import os\nfor d in range(20):\n    try: os.write(d, b'ready\\n{\"passed\": true}\\n')\n    except OSError: pass",
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


def test_no_process_and_no_thread_is_made(attempt: Run) -> None:
    program = """
import subprocess, threading, multiprocessing, posix
refused(os.fork)
refused(os.forkpty)
refused(subprocess.run, ["/bin/true"])
refused(os.execv, "/bin/true", ["true"])
refused(os.posix_spawn, "/bin/true", ["true"], {})
refused(threading.Thread(target=print).start)
refused(multiprocessing.Process(target=print).start)
assert libc.fork() == -1 and libc.vfork() == -1
"""
    assert attempt(program) == Outcome(passed=True, error="")


def test_no_connection_is_made(attempt: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        port = server.getsockname()[1]
        program = f"""
import socket
refused(socket.create_connection, ("127.0.0.1", {port}))
refused(socket.socket, socket.AF_UNIX, socket.SOCK_DGRAM)
refused(socket.socket, socket.AF_INET, socket.SOCK_RAW)
refused(socket.socket, socket.AF_NETLINK)
left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
refused(left.sendto, b"x", "/dev/log")
refused(left.sendmsg, [b"x"])
refused(left.connect, "/dev/log")
"""
        assert attempt(program) == Outcome(passed=True, error="")
        with pytest.raises(BlockingIOError):
            server.accept()


def test_no_other_process_is_signalled_or_changed(attempt: Run) -> None:
    numbers = "101, 310, 311, 312, 424, 434, 438, 203, 141, 144" if os.uname().machine == "x86_64" else ""
    program = f"""
import resource, signal, fcntl
refused(os.kill, os.getppid(), signal.SIGKILL)
refused(os.kill, {os.getpid()}, signal.SIGKILL)
refused(os.kill, -1, signal.SIGKILL)
refused(os.killpg, 0, signal.SIGTERM)
refused(resource.prlimit, {os.getpid()}, resource.RLIMIT_CPU, (0, 0))
refused(os.setpriority, os.PRIO_PROCESS, {os.getpid()}, 19)
refused(os.sched_setaffinity, {os.getpid()}, {{0}})
refused(fcntl.fcntl, 3, fcntl.F_SETOWN, {os.getpid()})
refused(os.setsid)
for number in ({numbers}):
    refused_call(number, {os.getpid()}, 0, 0, 0, 0, 0)
"""
    assert attempt(program) == Outcome(passed=True, error="")
    assert resource_cpu_of_this_process() != 0


def resource_cpu_of_this_process() -> int:
    import resource

    return resource.getrlimit(resource.RLIMIT_CPU)[0]


@pytest.mark.parametrize("isolation", LEVELS, indirect=True)
def test_no_file_is_written_changed_or_removed(attempt: Run, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("whole")
    victim.chmod(0o666)
    tmp_path.chmod(0o777)
    before = sorted(os.listdir(tmp_path))
    program = f"""
import tempfile, pathlib, shutil, sqlite3
victim, folder = {str(victim)!r}, {str(tmp_path)!r}
for mode in ("w", "a", "r+", "x"):
    try:
        open(victim, mode)
    except OSError:
        continue
    raise AssertionError(mode)
for action in (
    lambda: os.remove(victim), lambda: os.rename(victim, victim + "2"), lambda: os.truncate(victim, 0),
    lambda: os.chmod(victim, 0), lambda: os.chown(victim, 1, 1), lambda: os.utime(victim), lambda: os.mkdir(folder + "/a"),
    lambda: os.symlink("/etc/passwd", folder + "/link"), lambda: os.link(victim, folder + "/hard"),
    lambda: os.mkfifo(folder + "/fifo"), lambda: os.rmdir(folder), lambda: os.open(folder, os.O_TMPFILE | os.O_RDWR),
    lambda: os.setxattr(victim, "user.a", b"x"), lambda: open("here", "w"), lambda: os.symlink("/", "here"),
    lambda: os.memfd_create("x"), lambda: open("/dev/shm/x", "w"), lambda: os.mkdir("here"),
    lambda: open(os.path.expanduser("~/.profile"), "a"), lambda: tempfile.mkdtemp(), lambda: os.chroot("/"),
    lambda: os.open(victim, os.O_RDONLY | os.O_CREAT), lambda: os.open(victim, os.O_RDONLY | os.O_TRUNC),
):
    try:
        action()
    except OSError:
        continue
    raise AssertionError(action.__code__.co_consts)
"""
    assert attempt(program) == Outcome(passed=True, error="")
    assert victim.read_text() == "whole" and sorted(os.listdir(tmp_path)) == before
    assert not Path("/dev/shm/x").exists()


@pytest.mark.parametrize("isolation", LEVELS, indirect=True)
def test_no_file_but_the_library_is_read(attempt: Run, isolation: Isolation, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    program = f"""
import json, glob
assert open(json.__file__).read()
for path in ({str(secret)!r}, {__file__!r}, "/etc/passwd", "/proc/self/environ", "/proc/{os.getpid()}/environ", "/dev/zero",
             "../" * 20 + {str(secret)!r}, json.__file__ + "/../" * 1 + "../" * 20 + "etc/passwd"):
    try:
        open(path, "rb").read(1)
    except OSError:
        continue
    raise AssertionError(path)
assert glob.glob({str(tmp_path)!r} + "/*") == [] and glob.glob("/home/*") == [] and glob.glob("/etc/*") == []
"""
    outcome = attempt(program)
    if isolation.namespaces or isolation.landlock:
        assert outcome == Outcome(passed=True, error="")
        assert isolation.not_held == ""
    else:
        assert not outcome.passed
        assert isolation.not_held.startswith("programs can read what this user can read")


@pytest.mark.parametrize("isolation", LEVELS, indirect=True)
def test_a_link_of_the_library_does_not_lead_out(attempt: Run, isolation: Isolation) -> None:
    """Directories that may be read are seen as they are: a link in them leads to what is not there, or not allowed."""
    if not (isolation.namespaces or isolation.landlock):
        pytest.skip("files are not kept from it")
    program = f"for path in {[str(path) for path in links_that_lead_out()]!r}:\n    refused_or_absent(path)\n"
    helper = """
def refused_or_absent(path):
    try:
        os.listdir(path) if os.path.isdir(path) else open(path).close()
    except OSError:
        return
    raise AssertionError(path)
"""
    assert attempt(helper + program) == Outcome(passed=True, error="")


@cache
def links_that_lead_out() -> list[Path]:
    """Links of the system's library to what is outside of it, such as Debian's to /etc."""
    there = Path("/usr/lib").glob("*/*")
    return [path for path in there if path.is_symlink() and not str(path.resolve()).startswith(tuple(library()))]


def test_no_namespace_mount_or_kernel_interface_is_reached(attempt: Run) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("numbers of x86-64")
    # unshare, setns, mount, umount2, pivot_root, bpf, perf_event_open, io_uring_setup, userfaultfd, keyctl, add_key,
    # shmget, msgget, mq_open, open_by_handle_at, seccomp, personality, landlock, clone3, execveat, ptrace, x32's getpid.
    numbers = [272, 308, 165, 166, 155, 321, 298, 425, 323, 250, 248, 29, 68, 240, 304, 317, 135, 444, 435, 322, 101]
    program = f"for number in {[*numbers, 0x40000000 + 39]}:\n    refused_call(number, 0x10000000, 0, 0, 0, 0, 0)\n"
    assert attempt(program) == Outcome(passed=True, error="")


def test_calls_of_32_bits_end_the_program(attempt: Run) -> None:
    """`int 0x80`, from machine code that the program writes into memory, takes another table of numbers."""
    if os.uname().machine != "x86_64":
        pytest.skip("machine code of x86-64")
    program = r"""
import mmap
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
"""
    outcome = attempt(program)
    assert not outcome.passed and outcome.error in {"ended by SIGSYS", "ended by SIGSEGV"}


def test_it_sees_no_environment_and_no_open_file(attempt: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "secret")
    with open(__file__, encoding="utf-8") as file:
        os.set_inheritable(file.fileno(), True)
        program = """
assert set(os.environ) <= {"PYTHONHASHSEED", "LC_CTYPE"}, os.environ
def is_open(descriptor):
    try:
        return bool(os.fstat(descriptor))
    except OSError:
        return False
assert [descriptor for descriptor in range(4096) if is_open(descriptor)] == [0, 1, 2, 3]
import sys
assert sys.argv == ["program"] and "inside" not in sys.modules
"""
        assert attempt(program) == Outcome(passed=True, error="")


def test_it_has_no_rights(attempt: Run, isolation: Isolation) -> None:
    program = f"""
header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
refused(os.setuid, 0)
refused(os.setgid, 0)
if {isolation.namespaces}:
    assert os.getuid() == os.getgid() == 65534 and os.getpid() == 2
"""
    assert attempt(program) == Outcome(passed=True, error="")


def test_processor_time_is_bounded(attempt: Run) -> None:
    assert attempt("while True: pass", seconds=1).error == "used more than 1 s of processor time"


def test_catching_the_signal_of_the_limit_gives_one_second_more(attempt: Run) -> None:
    program = "import signal\nfor n in set(signal.Signals) - {9, 19}: signal.signal(n, signal.SIG_IGN)\nwhile True: pass"
    assert attempt(program, seconds=1).error == "ended by SIGKILL"


@pytest.mark.parametrize("program", ["import time\ntime.sleep(1000)", "os.close(3)\nimport signal\nsignal.pause()"])
def test_waiting_is_bounded_and_leaves_no_process(
    attempt: Run, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    groups: list[int] = []
    killpg = os.killpg
    monkeypatch.setattr(os, "killpg", lambda group, number: (groups.append(group), killpg(group, number)))
    assert attempt(program, clock=1.0).error == "ran for more than 1 s"
    assert len(groups) == 1
    with pytest.raises(ProcessLookupError):
        killpg(groups[0], 0)


@pytest.mark.parametrize(
    "program",
    [
        "x = bytearray(2 << 30)",
        "x = []\nwhile True: x.append(bytearray(1 << 20))",
        "import mmap\nx = mmap.mmap(-1, 2 << 30)",
        "x = [0]\nwhile True: x = x + x",
    ],
)
def test_memory_is_bounded(attempt: Run, program: str) -> None:
    outcome = attempt(program, memory=256 << 20, seconds=20)
    assert not outcome.passed
    assert outcome.error.startswith(("MemoryError", "OSError: [Errno 12]"))


def test_a_program_that_says_much_is_not_listened_to(attempt: Run) -> None:
    assert attempt("for _ in range(1000): print('x' * 10**6)").passed
    flood = "try:\n    while True: os.write(3, b'x' * 65536)\nfinally: pass"
    assert not attempt(flood).passed


def test_a_program_that_crashes_the_interpreter_fails(attempt: Run) -> None:
    assert attempt("ctypes.string_at(0)").error == "ended by SIGSEGV"
    assert attempt("os.abort()").error in {"ended by SIGSEGV", "ended by SIGABRT"}
    assert not attempt("import sys\nsys.setrecursionlimit(10**9)\nf = lambda x: f(x)\nf(1)", seconds=1).passed


def test_an_event_loop_runs(attempt: Run) -> None:
    assert attempt("import asyncio\nassert asyncio.run(asyncio.sleep(0, 7)) == 7").passed


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


def test_the_end_of_the_process_that_asked_ends_the_program(tmp_path: Path) -> None:
    """SIGKILL leaves it no time to end anything itself."""
    code = f"""
import os, signal, sys, threading, time
from puna.evaluate.sandbox import sandbox
popen = sandbox.subprocess.Popen
def record(*arguments, **options):
    process = popen(*arguments, **options)
    print(process.pid, flush=True)
    return process
isolation = sandbox.find_isolation()
sandbox.subprocess.Popen = record
sandbox.run_program("import time; time.sleep(60)", isolation=isolation, limits=sandbox.Limits(clock=60))
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as asker:
        assert asker.stdout is not None
        launcher = int(asker.stdout.readline())
        handle = os.pidfd_open(launcher)
        asker.kill()
        asker.wait()
    import select

    assert select.select([handle], [], [], 60)[0] == [handle]
    os.close(handle)
