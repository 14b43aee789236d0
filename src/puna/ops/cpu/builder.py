"""Operators in C++, compiled on the machine that runs them, at their first use, and kept for this user.

The sources use no header of PyTorch, so that g++ or clang++ needs seconds; they are called through ctypes. The compiled
library is kept under a name made from the sources, the compiler and its options. Where that cannot be written, it is
compiled into a directory of this process, which goes when it is loaded. Where what is kept cannot be loaded, since a
crash cut it short or another machine with the same home directory made it, it is compiled again.
"""

import contextlib
import ctypes
import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from puna.core.console import warn
from puna.core.layout import user_cache

COMPILE_SECONDS = 180
"""How long a compiler may take: six times as long as g++ 12 takes for the largest library on one core."""


class BuildError(Exception):
    """A library cannot be compiled or loaded on this machine; the message is a clause that says why."""


def find_compiler() -> str | None:
    """The command of a C++ compiler: $CXX, which may have arguments, g++ or clang++."""
    for command in (os.environ.get("CXX", ""), "g++", "clang++"):
        words = [command]
        if shutil.which(command) is None:
            with contextlib.suppress(ValueError):  # a quotation mark without its other
                words = shlex.split(command)
        if words and (path := shutil.which(words[0])):
            return shlex.join([path, *words[1:]])
    return None


def build(folder: Path, options: tuple[str, ...]) -> ctypes.CDLL:
    """The library of all C++ sources in a folder, compiled where it was not before.

    Args:
        folder: Holds `.cpp` and `.h` files; folders in it are not looked at.
        options: Of the compiler.

    Raises:
        BuildError: There is no compiler, it fails or takes too long, or its library cannot be loaded.
    """
    compiler = find_compiler()
    if compiler is None:
        raise BuildError("no C++ compiler was found ($CXX, g++, clang++)")
    try:
        kept = _kept(folder, compiler, options)
        if kept.exists():
            with contextlib.suppress(OSError):  # it was damaged since, and is compiled again
                return ctypes.CDLL(str(kept))
        return _compiled(folder, compiler, options, kept)
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"{compiler} did not end within {error.timeout:g} s") from None
    except (OSError, subprocess.SubprocessError) as error:
        output = getattr(error, "stderr", None) or str(error)
        raise BuildError(f"{compiler} could not compile Puna's operators for CPUs: {output[-500:]}") from None


def _kept(folder: Path, compiler: str, options: tuple[str, ...]) -> Path:
    """Where the compiled library is kept."""
    command = shlex.split(compiler)
    version = _output([*command, "--version"], 60)
    digest = hashlib.sha256(repr((version, options, *command[1:])).encode())
    for path in sorted(path for path in folder.iterdir() if path.suffix in {".cpp", ".h"}):
        digest.update(path.read_bytes())
    return user_cache() / "operators" / f"{digest.hexdigest()[:32]}.so"


def _compiled(folder: Path, compiler: str, options: tuple[str, ...], kept: Path) -> ctypes.CDLL:
    """The library, loaded, and kept where that can be written."""
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(dir=kept.parent)
        keeps = True
    except OSError as error:
        warn(f"{kept.parent}: cannot be written ({error.strerror}), so operators for CPUs are compiled at every start")
        scratch = tempfile.TemporaryDirectory()
        keeps = False
    with scratch as name:
        made = Path(name) / kept.name
        files = [str(path) for path in sorted(folder.glob("*.cpp"))]
        _output([*shlex.split(compiler), *options, "-o", str(made), *files], COMPILE_SECONDS)
        library = ctypes.CDLL(str(made))  # whose file may be moved or deleted from now on
        if keeps:
            made.replace(kept)  # complete or missing, even if several processes compile
        return library


def _output(command: list[str], seconds: float) -> str:
    """What a command prints; all of its processes end with it, since a compiler's command only starts the compiler."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            output, errors = process.communicate(timeout=seconds)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output, errors)
    return output
