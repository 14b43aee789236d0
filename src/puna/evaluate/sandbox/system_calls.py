"""The filter of system calls, in the kernel's classic BPF: what is not listed is refused.

See seccomp(2). A program of tests computes and imports modules; what it needs beyond that is little, so the list says
what is allowed. Calls whose arguments decide are allowed with some arguments only. Numbers are those of the kernel's
headers (asm/unistd_64.h, asm-generic/unistd.h), with which a test compares them.
"""

import errno
import struct
from collections.abc import Iterator
from typing import NamedTuple

_CALLS: dict[str, tuple[int | None, int | None]] = {
    # Memory.
    "brk": (12, 214), "mmap": (9, 222), "munmap": (11, 215), "mremap": (25, 216), "mprotect": (10, 226),
    "madvise": (28, 233),
    # Files that are open, and names of files.
    "read": (0, 63), "write": (1, 64), "readv": (19, 65), "writev": (20, 66), "pread64": (17, 67), "lseek": (8, 62),
    "close": (3, 57), "close_range": (436, 436), "dup": (32, 23), "dup2": (33, None), "dup3": (292, 24),
    "fstat": (5, 80), "stat": (4, None), "lstat": (6, None), "newfstatat": (262, 79), "statx": (332, 291),
    "access": (21, None), "faccessat": (269, 48), "faccessat2": (439, 439), "readlink": (89, None),
    "readlinkat": (267, 78), "getdents64": (217, 61), "getcwd": (79, 17), "fadvise64": (221, 223),
    # Waiting; pipes within the process.
    "pipe": (22, None), "pipe2": (293, 59), "select": (23, None), "pselect6": (270, 72), "poll": (7, None),
    "ppoll": (271, 73), "epoll_create1": (291, 20), "epoll_ctl": (233, 21), "epoll_wait": (232, None),
    "epoll_pwait": (281, 22), "eventfd2": (290, 19),
    # Locks, clocks, signals to itself.
    "futex": (202, 98), "set_robust_list": (273, 99), "rseq": (334, 293), "membarrier": (324, 283),
    "sched_yield": (24, 124), "getcpu": (309, 168), "clock_gettime": (228, 113), "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115), "nanosleep": (35, 101), "gettimeofday": (96, 169), "time": (201, None),
    "times": (100, 153), "getitimer": (36, 102), "setitimer": (38, 103), "alarm": (37, None), "pause": (34, None),
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "rt_sigpending": (127, 136),
    "rt_sigtimedwait": (128, 137), "sigaltstack": (131, 132),
    # What it is.
    "getpid": (39, 172), "gettid": (186, 178), "getppid": (110, 173), "getuid": (102, 174), "geteuid": (107, 175),
    "getgid": (104, 176), "getegid": (108, 177), "getresuid": (118, 148), "getresgid": (120, 150),
    "getgroups": (115, 158), "uname": (63, 160), "sysinfo": (99, 179), "getrlimit": (97, 163),
    "getrusage": (98, 165), "sched_getaffinity": (204, 123), "getrandom": (318, 278),
    # The end.
    "exit": (60, 93), "exit_group": (231, 94), "restart_syscall": (219, 128),
}  # fmt: skip
"""Calls with any arguments, by their numbers on x86-64 and on AArch64; None where an architecture has none."""

_WRITES = 0o3 | 0o100 | 0o1000 | 0o10000000 | 0o20000000
"""Of open(2): O_WRONLY and O_RDWR, O_CREAT, O_TRUNC, O_PATH, O_TMPFILE; the same on both architectures."""
_OPEN_ONLY = (0,)


class _Checked(NamedTuple):
    """A call that is allowed if one argument, after a mask, is one of some values."""

    numbers: tuple[int | None, int | None]
    argument: int
    mask: int
    values: tuple[int, ...]


_WHOLE = 0xFFFFFFFF
_CHECKED: dict[str, _Checked] = {
    "open": _Checked((2, None), 1, _WRITES, _OPEN_ONLY),
    "openat": _Checked((257, 56), 2, _WRITES, _OPEN_ONLY),
    # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC; none that locks files or names who gets signals.
    "fcntl": _Checked((72, 25), 1, _WHOLE, (0, 1, 2, 3, 4, 1030)),
    # TCGETS and TIOCGWINSZ, by which Python asks what a file is; FIONBIO, FIOCLEX, FIONCLEX.
    "ioctl": _Checked((16, 29), 1, _WHOLE, (0x5401, 0x5413, 0x5421, 0x5451, 0x5450)),
    # PR_SET_NAME, PR_GET_NAME.
    "prctl": _Checked((157, 167), 0, _WHOLE, (15, 16)),
    # Of the process itself: the limits of another one of the same user could end it.
    "prlimit64": _Checked((302, 261), 0, _WHOLE, (0,)),
    # AF_UNIX, the pair with which an event loop wakes itself. Calls that name who gets a message are not allowed.
    "socketpair": _Checked((53, 199), 0, _WHOLE, (1,)),
}
"""Calls of which one argument decides."""

_ABSENT: dict[str, tuple[int, int]] = {"clone3": (435, 435), "openat2": (437, 437)}
"""Calls whose arguments no filter can see: they are said not to exist, upon which the C library takes older ones."""

MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""By `platform.machine()`: the place of its numbers above, and its name in audit.h."""

_LOAD = 0x20
_EQUAL = 0x15
_AND = 0x54
_RETURN = 0x06
_ALLOW = 0x7FFF0000
_KILL = 0x80000000
_REFUSE = 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
"""Where struct seccomp_data has them."""


def allowed(machine: str) -> dict[str, int]:
    """The numbers of all calls that are allowed with some arguments or with any, by name."""
    place, _ = MACHINES[machine]
    numbers = {name: both[place] for name, both in _CALLS.items()}
    numbers |= {name: checked.numbers[place] for name, checked in _CHECKED.items()}
    return {name: number for name, number in numbers.items() if number is not None}


def filter_program(machine: str) -> bytes:
    """The filter as an array of struct sock_filter.

    A call of another architecture, such as those of 32 bits, ends the process. All others that are not allowed fail
    with EPERM, those of `_ABSENT` with ENOSYS. The numbers of x32 have a bit that no listed one has, so they fail too.

    Args:
        machine: As `platform.machine()`, one of `MACHINES`.
    """
    place, architecture = MACHINES[machine]
    code = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    for checked in _CHECKED.values():
        number = checked.numbers[place]
        if number is not None:
            code += _check(number, checked)
    for numbers in _ABSENT.values():
        code += [(_EQUAL, 0, 1, numbers[place]), (_RETURN, 0, 0, _REFUSE | errno.ENOSYS)]
    for both in _CALLS.values():
        number = both[place]
        if number is not None:
            code += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    code.append((_RETURN, 0, 0, _REFUSE | errno.EPERM))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def _check(number: int, checked: _Checked) -> Iterator[tuple[int, int, int, int]]:
    """If it is this call: allow it if its argument is one of the values, else refuse it. Else go on.

    Arguments are looked at in their lower 32 bits: the kernel takes all of these as numbers of 32 bits. Both
    architectures are little-endian here, so the lower half comes first.
    """
    values = checked.values
    yield _EQUAL, 0, 4 + len(values), number
    yield _LOAD, 0, 0, _ARGUMENTS + 8 * checked.argument
    yield _AND, 0, 0, checked.mask
    for place, value in enumerate(values):
        yield _EQUAL, len(values) - place, 0, value
    yield _RETURN, 0, 0, _REFUSE | errno.EPERM
    yield _RETURN, 0, 0, _ALLOW
