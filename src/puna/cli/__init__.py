"""The command `puna`: one file per command; a command's own modules are imported only when it runs."""

import errno
import gc
import io
import os
import sys


def main() -> None:
    """Run the command line; a user's error is one sentence on stderr and exit code 2."""
    _show_any_text()
    try:
        code = _exit_code()
    finally:
        # The process ends: nobody needs the cycles among torch's objects to be found, which takes 0.3 s.
        gc.freeze()
    if "puna.parallel.world" in sys.modules and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from puna.parallel.world import end_process

        end_process(code)
    sys.exit(code)


def _exit_code() -> int:
    """Run the command line, and say how it ended."""
    from puna.core.errors import EXIT_CODE, Interrupted, OtherProcessError, UserError
    from puna.core.terminate import orderly_end

    try:
        with orderly_end():
            _run()
    except OtherProcessError:
        return EXIT_CODE
    except UserError as error:
        from puna.core.console import console

        console().print("error:", style="bold red", end=" ")
        console().print(str(error), markup=False)
        return EXIT_CODE
    except BrokenPipeError:
        # The reader of stdout has gone (`puna generate … | head`), so no message can be shown.
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        return 130
    except Interrupted as interrupted:
        return interrupted.exit_code
    except SystemExit as ended:
        if ended.code is not None and not isinstance(ended.code, int):
            raise
        return ended.code or 0
    return 0


def _show_any_text() -> None:
    """Let stdout show characters that its encoding lacks as escapes: a terminal may speak ASCII, a name not be text."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _is_typed(path: str) -> bool:
    """Whether a path is one that the user typed, or lies below one: what the system says of it is for the user."""
    words = [part for word in sys.argv[1:] for part in (word, word.partition("=")[2]) if part]
    return any(path == word or path.startswith(f"{word.rstrip('/')}/") for word in words)


def _run() -> None:
    from puna.cli.app import app
    from puna.core.errors import StorageError
    from puna.core.packages import missing_package

    try:
        app(prog_name="puna")
    except ModuleNotFoundError as error:
        sentence = missing_package(error)
        if sentence is None:
            raise
        raise sentence from None
    except OSError as error:
        if error.filename is not None and _is_typed(os.fsdecode(error.filename)):
            raise StorageError(f"{os.fsdecode(error.filename)}: cannot be used ({error.strerror})") from None
        # Files are written under `storage_errors`, so what is full is where standard output goes.
        if error.filename is not None or error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what Python still holds, or the exit code would be another
        raise StorageError("standard output: no space left to write it") from None
