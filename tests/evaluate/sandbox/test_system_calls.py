"""The filter, by a small interpreter of classic BPF and by the kernel's own tables of numbers."""

import errno
import re
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.evaluate.sandbox.system_calls import MACHINES, allowed, filter_program

ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
X86, ARM = 0xC000003E, 0xC00000B7
I386 = 0x40000003
TAMING = ("open", "openat", "fcntl", "ioctl", "prctl", "prlimit64", "socketpair")
HEADERS = {
    "x86_64": [Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), Path("/usr/include/asm/unistd_64.h")],
    "aarch64": [Path("/usr/include/asm-generic/unistd.h")],
}
HARMFUL = (
    "fork", "vfork", "clone", "execve", "execveat", "kill", "tkill", "tgkill", "rt_sigqueueinfo", "pidfd_send_signal",
    "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp", "socket", "connect", "bind", "sendto",
    "sendmsg", "sendmmsg", "mount", "umount2", "pivot_root", "chroot", "unshare", "setns", "bpf", "perf_event_open",
    "io_uring_setup", "userfaultfd", "keyctl", "add_key", "memfd_create", "shmget", "msgget", "mq_open", "semget",
    "unlink", "unlinkat", "rename", "renameat2", "mkdir", "mkdirat", "symlinkat", "linkat", "truncate", "ftruncate",
    "fallocate", "chmod", "fchmod", "fchmodat", "chown", "utimensat", "setxattr", "flock", "creat", "mknod",
    "open_by_handle_at", "name_to_handle_at", "setpriority", "sched_setaffinity", "sched_setscheduler", "setpgid",
    "setsid", "setuid", "setresuid", "capset", "seccomp", "personality", "init_module", "finit_module", "kexec_load",
    "reboot", "swapon", "quotactl", "inotify_init1", "fanotify_init", "timer_create", "mlock", "vmsplice", "splice",
)  # fmt: skip


def answer(machine: str, architecture: int, number: int, *arguments: int) -> int:
    """What the filter says of a call, interpreted as seccomp(2) defines."""
    data = struct.pack("<iIQ6Q", number, architecture, 0, *(*arguments, 0, 0, 0, 0, 0, 0)[:6])
    code = [struct.unpack("=HBBI", part) for part in _parts(filter_program(machine))]
    accumulator, place = 0, 0
    while True:
        kind, yes, no, value = code[place]
        place += 1
        match kind:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, value)
            case 0x54:
                accumulator &= value
            case 0x15:
                place += yes if accumulator == value else no
            case 0x06:
                return value
            case _:
                raise AssertionError(kind)


def _parts(code: bytes) -> list[bytes]:
    return [code[place : place + 8] for place in range(0, len(code), 8)]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_numbers_are_those_of_the_kernels_headers(machine: str) -> None:
    numbers = kernel_numbers(machine)
    assert len(allowed(machine)) > 70
    assert {name: numbers.get(name) for name in allowed(machine)} == allowed(machine)
    for name in ("clone3", "openat2"):
        assert answer(machine, MACHINES[machine][1], numbers[name]) == ENOSYS


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_what_reaches_beyond_the_process_is_refused(machine: str) -> None:
    numbers = kernel_numbers(machine)
    there = [name for name in HARMFUL if name in numbers]
    assert len(there) > 60
    assert {name for name in there if answer(machine, MACHINES[machine][1], numbers[name], 1, 1, 1) != EPERM} == set()


def kernel_numbers(machine: str) -> dict[str, int]:
    header = next((path for path in HEADERS[machine] if path.exists()), None)
    if header is None:
        pytest.skip("the kernel's headers (linux-libc-dev) are not installed")
    found = re.findall(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)$", header.read_text(), re.MULTILINE)
    numbers = {name: int(number) for name, number in found}
    if machine == "aarch64":
        # The generic table calls it by its older name.
        numbers["newfstatat"] = numbers.pop("fstatat", numbers.get("newfstatat", -1))
    return numbers


@given(number=st.integers(-(2**31), 2**31 - 1), machine=st.sampled_from(sorted(MACHINES)), argument=st.integers(0, 9))
def test_a_call_that_is_not_listed_is_refused(number: int, machine: str, argument: int) -> None:
    listed = set(allowed(machine).values())
    said = answer(machine, MACHINES[machine][1], number, argument, argument, argument)
    assert said == (ENOSYS if number in {435, 437} else EPERM) or number in listed


@given(number=st.integers(0, 600))
def test_calls_by_the_numbers_of_x32_are_refused_and_those_of_other_architectures_end_the_process(number: int) -> None:
    assert answer("x86_64", X86, number | 0x40000000) == EPERM
    assert answer("x86_64", I386, number) == KILL
    assert answer("aarch64", X86, number) == KILL


def test_calls_with_any_arguments_are_allowed_with_any() -> None:
    for machine, (_, architecture) in MACHINES.items():
        for name, number in allowed(machine).items():
            if name not in TAMING:
                assert answer(machine, architecture, number, 2**63, 2**63, 2**63) == ALLOW


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("openat", (0, 0, 0o2000000), ALLOW),  # O_RDONLY | O_CLOEXEC
        ("openat", (0, 0, 0o200000), ALLOW),  # O_DIRECTORY of x86
        ("openat", (0, 0, 0o1), EPERM),
        ("openat", (0, 0, 0o2), EPERM),
        ("openat", (0, 0, 0o3), EPERM),
        ("openat", (0, 0, 0o100), EPERM),
        ("openat", (0, 0, 0o1000), EPERM),
        ("openat", (0, 0, 0o10000000), EPERM),
        ("openat", (0, 0, 0o20200002), EPERM),
        ("openat", (0, 0, 1 << 32 | 1), EPERM),
        ("open", (0, 0), ALLOW),
        ("open", (0, 0o101), EPERM),
        ("fcntl", (3, 4), ALLOW),
        ("fcntl", (3, 6), EPERM),  # F_SETLK
        ("fcntl", (3, 8), EPERM),  # F_SETOWN
        ("fcntl", (3, 1031), EPERM),  # F_SETPIPE_SZ
        ("ioctl", (0, 0x5401), ALLOW),
        ("ioctl", (0, 0x5412), EPERM),  # TIOCSTI
        ("prctl", (15,), ALLOW),
        ("prctl", (1,), EPERM),  # PR_SET_PDEATHSIG
        ("prctl", (22,), EPERM),
        ("prlimit64", (0, 7), ALLOW),
        ("prlimit64", (1, 7), EPERM),
        ("socketpair", (1, 1), ALLOW),
        ("socketpair", (30, 1), EPERM),  # AF_TIPC
    ],
)
def test_an_argument_decides(name: str, arguments: tuple[int, ...], expected: int) -> None:
    assert answer("x86_64", X86, allowed("x86_64")[name], *arguments) == expected


def test_the_filter_is_short_enough_for_the_kernel() -> None:
    assert all(len(filter_program(machine)) // 8 < 4096 for machine in MACHINES)
