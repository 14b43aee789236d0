"""Programs that try to get out, in the isolation that this machine has and in weaker ones."""

import os
import resource
import socket
import sys
from functools import cache
from pathlib import Path

import pytest
from confined import LEVELS, Run

from puna.evaluate.sandbox.sandbox import Isolation, Outcome, library

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="programs are run on Linux only")


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
    assert resource.getrlimit(resource.RLIMIT_CPU)[0] == resource.RLIM_INFINITY


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
    lambda: os.chmod(victim, 0), lambda: os.chown(victim, 1, 1), lambda: os.utime(victim),
    lambda: os.mkdir(folder + "/a"),
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
    assert victim.read_text() == "whole"
    assert sorted(os.listdir(tmp_path)) == before
    assert not Path("/dev/shm/x").exists()


@pytest.mark.parametrize("isolation", LEVELS, indirect=True)
def test_no_file_but_the_library_is_read(attempt: Run, isolation: Isolation, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    program = f"""
import json, glob
assert open(json.__file__).read()
above = "../" * 20
for path in ({str(secret)!r}, {__file__!r}, "/etc/passwd", "/proc/self/environ", "/dev/zero",
             "/proc/{os.getpid()}/environ", above + {str(secret)!r},
             os.path.dirname(json.__file__) + "/" + above + "etc/passwd"):
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
    # shmget, msgget, mq_open, open_by_handle_at, seccomp, personality, landlock, clone3, execveat, ptrace;
    # getpid of x32.
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
    assert outcome.error in {"ended by SIGSYS", "ended by SIGSEGV"}


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
    program = (
        "import signal\nfor n in set(signal.Signals) - {9, 19}: signal.signal(n, signal.SIG_IGN)\nwhile True: pass"
    )
    assert attempt(program, seconds=1).error == "ended by SIGKILL"


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


def test_a_program_that_crashes_the_interpreter_fails(attempt: Run) -> None:
    assert attempt("ctypes.string_at(0)").error == "ended by SIGSEGV"
    assert attempt("os.abort()").error in {"ended by SIGSEGV", "ended by SIGABRT"}
    assert not attempt("import sys\nsys.setrecursionlimit(10**9)\nf = lambda x: f(x)\nf(1)", seconds=1).passed


def test_an_event_loop_runs(attempt: Run) -> None:
    assert attempt("import asyncio\nassert asyncio.run(asyncio.sleep(0, 7)) == 7").passed
