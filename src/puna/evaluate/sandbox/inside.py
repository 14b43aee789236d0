"""What runs in the sandbox's process: `python -S -B inside.py`, with the standard library alone.

It reads a request, shuts itself in, says `ready`, runs the program and says how that went. Up to `ready` an error is
one of the sandbox; after it, all that comes is the program's doing.

The request, as JSON on standard input:

```
program      Python source
secret       what a verdict begins with, so that text that the program writes there by chance is not one
parent       the process that asked
namespaces   whether to enter new ones
landlock     the version of Landlock's interface, 0 to do without
filter       the filter of system calls, in hexadecimal
library      directories that may be read
room         an empty directory, the program's working directory
seconds      of processor time
memory       bytes of address space
files        files open at once
```
"""

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
import types
from typing import Any, NoReturn

VERDICT = 3
"""The descriptor of the pipe to the parent, once all others are closed."""
NOBODY = 65534

PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 22, 38
SECCOMP_MODE_FILTER = 2
CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
NAMESPACES = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 1, 2, 4, 8, 32, 4096
MS_REC, MS_PRIVATE, MS_RELATIME = 1 << 14, 1 << 18, 1 << 21
KEPT_FLAGS = 2 | 4 | 8 | 1024 | 2048
"""Flags of a mount that a user namespace may not take away; statvfs and mount have the same numbers for these."""
MNT_DETACH = 2
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
"""Numbers of its system calls, the same on all architectures."""
LANDLOCK_READ = 1 << 2 | 1 << 3
"""To read files and to list directories."""

libc = ctypes.CDLL(None, use_errno=True)


def main() -> NoReturn:
    """Does what the request says, and ends with the exit code of the program: 128 and more for a signal."""
    sys.path.pop(0)  # This file's folder.
    request = json.load(sys.stdin.buffer)
    die_with(request["parent"])
    os.dup2(1, VERDICT)
    with open(os.devnull, "r+b", buffering=0) as nothing:
        for descriptor in (0, 1, 2):
            os.dup2(nothing.fileno(), descriptor)
    os.closerange(VERDICT + 1, 1 << 16)
    try:
        if not request["namespaces"]:
            os.chdir(request["room"])
            become_nobody(request["library"])
            die_with(request["parent"])  # Becoming another user has undone it.
            wait_for(started(request))
        identity = enter_namespaces()
        child = os.fork()
        if child:
            wait_for(child)
        die_with(0)
        take_root(request["room"], request["library"])
        os.setresgid(identity, identity, identity)
        os.setresuid(identity, identity, identity)
        die_with(0)
        wait_for(started(request))
    except OSError as error:
        os.write(VERDICT, f"{error.strerror}, {error.filename or ''}".encode())
        os._exit(1)


def started(request: dict[str, Any]) -> int:
    """The number of a child in which the program runs."""
    parent = os.getpid()
    child = os.fork()
    if child:
        os.close(VERDICT)
        return child
    try:
        die_with(parent)
        shut(request)
    except OSError as error:
        os.write(VERDICT, f"{error.strerror}, {error.filename or ''}".encode())
        os._exit(1)
    run(request["program"], request["secret"])


def wait_for(child: int) -> NoReturn:
    """Ends with a child's exit code; the end of the first process of a namespace ends all others in it.

    SIGTERM ends the child and waits for that, so that no dead process is left to somebody who does not wait for it.
    """
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGKILL))
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def die_with(parent: int) -> None:
    """Has the kernel end this process with its parent, and ends it now if that has gone already.

    Args:
        parent: Its number; 0 for one outside of the namespace.
    """
    control(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def become_nobody(library: list[str]) -> None:
    """Without namespaces root gives its rights away, if the library can be read without them."""
    if os.geteuid() != 0 or not all(open_to_all(path) for path in library):
        return
    with contextlib.suppress(PermissionError):
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)


def open_to_all(path: str) -> bool:
    """Whether everybody may enter a directory and all above it."""
    while os.stat(path).st_mode & 0o001:
        if path == "/":
            return True
        path = os.path.dirname(path)
    return False


def enter_namespaces() -> int:
    """Enters new namespaces, and returns who the program will be there.

    Root gets a second identity, which is nobody outside too; others, and root with few rights, are nobody inside and
    themselves outside. A process that stays outside writes the table, as the one inside has no right to a second one.
    """
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        with contextlib.suppress(PermissionError):
            os.setgroups([])
    reading, writing = os.pipe()
    me = os.getpid()
    mapper = os.fork()
    if mapper == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(map_identities(me, user, group))
    call("unshare", NAMESPACES)
    os.close(writing)
    os.close(reading)
    _, status = os.waitpid(mapper, 0)
    if status:
        raise PermissionError(1, "the user namespace has no identities")
    return NOBODY


def map_identities(process: int, user: int, group: int) -> int:
    """Writes the tables of identities of a process that has entered a user namespace; returns 0, or 1 on failure."""
    one = {"setgroups": "deny", "gid_map": f"{NOBODY} {group} 1\n", "uid_map": f"{NOBODY} {user} 1\n"}
    two = {"gid_map": f"0 {group} 1\n{NOBODY} {NOBODY} 1\n", "uid_map": f"0 {user} 1\n{NOBODY} {NOBODY} 1\n"}
    for tables in (two, one) if user == 0 else (one,):
        try:
            for name, text in tables.items():
                with open(f"/proc/{process}/{name}", "w", encoding="ascii") as file:
                    file.write(text)
        except OSError:
            continue
        return 0
    return 1


def take_root(room: str, library: list[str]) -> None:
    """Makes an empty file system the root, with the library's directories in it, all of it for reading only."""
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", room, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=64k,nr_inodes=512,mode=755")
    for path in library:
        inside = room + path
        if os.path.islink(path):
            os.makedirs(os.path.dirname(inside), exist_ok=True)
            os.symlink(os.readlink(path), inside)
            continue
        if os.path.exists(inside):
            continue
        os.makedirs(inside)
        mount(path, inside, None, MS_BIND | MS_REC)
        flags = os.statvfs(path).f_flag
        kept = flags & KEPT_FLAGS | (MS_RELATIME if flags & 4096 else 0)
        mount(None, inside, None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | kept)
    os.chdir(room)
    call("pivot_root", b".", b".")
    call("umount2", b".", MNT_DETACH)
    mount(None, "/", None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
    os.chdir("/")


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """Mounts, and names the target in the error, as the C library does not."""
    texts = [None if text is None else os.fsencode(text) for text in (source, target, kind, data)]
    try:
        call("mount", *texts[:3], ctypes.c_ulong(flags), texts[3])
    except OSError as error:
        error.filename = target
        raise


def shut(request: dict[str, Any]) -> None:
    """Sets the limits, then lays Landlock and the filter of system calls over this process; there is no way back."""
    limits = {
        "AS": request["memory"], "CORE": 0, "FSIZE": 0, "NOFILE": request["files"], "NPROC": 0, "MEMLOCK": 0,
        "MSGQUEUE": 0, "SIGPENDING": 64, "RTPRIO": 0, "NICE": 0,
    }  # fmt: skip
    control(PR_SET_NO_NEW_PRIVS, 1)
    if request["landlock"]:
        restrict_files(request["landlock"], request["library"])
    for name, value in limits.items():
        lower(getattr(resource, f"RLIMIT_{name}"), value, value)
    # SIGXCPU ends it; should it catch that, SIGKILL does a second later.
    lower(resource.RLIMIT_CPU, request["seconds"], request["seconds"] + 1)
    header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    call("capset", header, none)
    code = bytes.fromhex(request["filter"])
    text = ctypes.create_string_buffer(code, len(code))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))

    program = Program(len(code) // 8, ctypes.addressof(text))
    control(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(program))


def restrict_files(version: int, library: list[str]) -> None:
    """By Landlock the library may be read, and nothing else; later versions refuse TCP and signals to others too."""
    file_rights = (1 << 13) - 1
    for since, right in ((2, 13), (3, 14), (5, 15)):
        file_rights |= 1 << right if version >= since else 0
    rights = [file_rights, 0b11 if version >= 4 else 0, 0b11 if version >= 6 else 0]
    used = rights[: 1 if version < 4 else 2 if version < 6 else 3]
    attributes = (ctypes.c_uint64 * len(used))(*used)
    rules = call("syscall", LANDLOCK_CREATE, attributes, ctypes.sizeof(attributes), 0)
    for path in library:
        below = os.open(path, os.O_PATH | os.O_CLOEXEC)
        # struct landlock_path_beneath_attr is packed: 8 bytes of rights, 4 of the descriptor.
        rule = LANDLOCK_READ.to_bytes(8, sys.byteorder) + below.to_bytes(4, sys.byteorder)
        call("syscall", LANDLOCK_ADD, rules, 1, rule, 0)
        os.close(below)
    call("syscall", LANDLOCK_RESTRICT, rules, 0)
    os.close(rules)


def lower(limit: int, soft: int, hard: int) -> None:
    """Sets a limit, or leaves it where it is lower already."""
    before = resource.getrlimit(limit)[1]
    if before != resource.RLIM_INFINITY:
        soft, hard = min(soft, before), min(hard, before)
    resource.setrlimit(limit, (soft, hard))


def control(option: int, *arguments: int) -> None:
    """prctl(2), whose arguments are all as wide as a pointer."""
    call("prctl", option, *(ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]))


def call(name: str, *arguments: Any) -> int:
    """A function of the C library that returns -1 on failure."""
    done = getattr(libc, name)(*arguments)
    if done == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
    return done


def run(program: str, secret: str) -> NoReturn:
    """Runs the program in a module of its own, and says whether it came to its end.

    The module is `__main__` too, where doctest and unittest look for their tests, but is not called so: what a program
    does when it is the main one, it does not do before its tests.
    """
    write, leave, dumps = os.write, os._exit, json.dumps
    sys.modules.pop("inside", None)
    sys.argv = ["program"]
    module = types.ModuleType("program")
    sys.modules["program"] = sys.modules["__main__"] = module
    write(VERDICT, b"ready\n")
    said: dict[str, object] = {"passed": True}
    try:
        exec(compile(program, "program", "exec"), module.__dict__)  # noqa: S102 - what all of this is for
    except BaseException as error:
        said = {"passed": False, "error": sentence(error)}
    write(VERDICT, f"{secret} {dumps(said)}\n".encode())
    leave(0)


def sentence(error: BaseException) -> str:
    """What a person reads of an exception, of bounded length."""
    try:
        return f"{type(error).__name__}: {error}"[:300].removesuffix(": ")
    except BaseException:
        return "an exception without a text"


if __name__ == "__main__":
    main()
