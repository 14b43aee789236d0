"""Turns as people write them: lines with editing and history on a terminal, lines of a pipe elsewhere.

A line that ends with a backslash goes on in the next one, and so does a block from `\"\"\"` to `\"\"\"`. A terminal
that marks pasted text (bracketed paste) gives it as one turn, whatever line ends are in it.
"""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from puna.core.bounded import read_bounded
from puna.core.console import warn
from puna.core.errors import GenerateError
from puna.core.files import atomic_file, decode_text

FIRST, NEXT = "> ", ". "
"""Prompts before a turn, and before a line that continues one."""

_QUOTES = '"""'
_MOST_ENTRIES = 1000
"""Entries of the history: twice bash's 500."""
_LONGEST_ENTRY = 10_000
"""Characters of an entry; nobody looks for a longer one with the arrow keys."""
_LARGEST = _MOST_ENTRIES * _LONGEST_ENTRY * 8


def read_turn(read: Callable[[str], str]) -> str:
    """One turn, of one line or of several.

    Args:
        read: Gives the next line without its end, after a prompt; raises EOFError where there is none.

    Raises:
        EOFError: There is no further turn. One that the end of the input cuts off is given as it is.
    """
    line = read(FIRST)
    if line.lstrip().startswith(_QUOTES):
        return _read_block(line.lstrip().removeprefix(_QUOTES), read)
    lines = []
    while line.endswith("\\"):
        lines.append(line.removesuffix("\\"))
        try:
            line = read(NEXT)
        except EOFError:
            line = ""
            break
    return "\n".join([*lines, line])


def _read_block(line: str, read: Callable[[str], str]) -> str:
    lines = []
    while not line.rstrip().endswith(_QUOTES):
        lines.append(line)
        try:
            line = read(NEXT)
        except EOFError:
            return "\n".join(lines)
    return "\n".join([*lines, line.rstrip().removesuffix(_QUOTES)]).strip("\n")


class Terminal:
    """A person at a terminal: lines can be edited, and earlier ones found again.

    Args:
        history: The file of earlier turns; it is made, for this user alone, when the first one is kept.
        words: What the tabulator key completes at the beginning of a line.
    """

    def __init__(self, history: Path, words: Sequence[str] = ()) -> None:
        self._history = History(history)
        self._words = words
        self._ends_line = False
        """Whether the library ends the line at Ctrl-D: GNU's does where it asks the terminal to mark pasted text."""
        # Without this module `input` reads lines that cannot be edited; it works by being imported.
        with contextlib.suppress(ImportError):
            import readline

            readline.set_auto_history(False)
            readline.set_completer(self._complete)
            readline.set_completer_delims("")
            if "libedit" in (readline.__doc__ or ""):
                readline.parse_and_bind("bind ^I rl_complete")
            else:
                readline.parse_and_bind("tab: complete")
                readline.parse_and_bind("set enable-bracketed-paste on")
                self._ends_line = os.environ.get("TERM", "dumb") != "dumb"
            for entry in self._history.entries:
                readline.add_history(entry)

    def turn(self) -> str:
        """The next turn.

        Raises:
            EOFError: Ctrl-D at the beginning of a line.
            KeyboardInterrupt: Ctrl-C.
            GenerateError: Bytes were typed that are not text.
        """
        try:
            turn = read_turn(input).strip("\n")  # of lines that were pasted whole
        except EOFError:
            if not self._ends_line:
                print(file=sys.stderr)
            raise
        except UnicodeDecodeError as error:
            raise GenerateError(f"what was typed is not text in the terminal's encoding: {error.reason}") from None
        if turn.strip():
            with contextlib.suppress(ImportError, ValueError):  # the latter for NUL, which it cannot hold
                import readline

                readline.add_history(turn)
            self._history.add(turn)
        return turn

    def _complete(self, text: str, state: int) -> str | None:
        found = [word for word in self._words if word.startswith(text)] if text else []
        return found[state] if state < len(found) else None


class Lines:
    """Standard input that is not edited: a pipe, a file, or a terminal whose output goes elsewhere."""

    def __init__(self) -> None:
        self._first = True

    def turn(self) -> str:
        """The next turn.

        Raises:
            EOFError: The input has ended.
            GenerateError: A line is not UTF-8 text.
        """
        return read_turn(self._read)

    def _read(self, prompt: str) -> str:
        if sys.stdin is None:  # closed from the beginning
            raise EOFError
        if sys.stdin.isatty():
            print(prompt, end="", file=sys.stderr, flush=True)
        line = sys.stdin.buffer.readline()
        if not line:
            raise EOFError
        text = decode_text(line, "standard input", GenerateError).removesuffix("\n").removesuffix("\r")
        first, self._first = self._first, False
        return text.removeprefix("\ufeff") if first else text  # with which some systems mark UTF-8


class History:
    """Earlier turns in a file, one JSON text per line, that only this user can read.

    Several chats may write to it at once: each turn is one write at its end.

    Args:
        file: Where it is, or will be.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.entries: list[str] = []
        """The latest turns, at most a thousand."""
        self._works = True
        try:
            if file.exists():
                self._read()
        except (OSError, GenerateError) as error:
            self._fail(error)

    def add(self, turn: str) -> None:
        """Keep a turn; where the file cannot be written, a warning says so once."""
        if not self._works or len(turn) > _LONGEST_ENTRY or turn in self.entries[-1:]:
            return
        self.entries.append(turn)
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with open(descriptor, "ab") as opened:
                opened.write(json.dumps(turn).encode() + b"\n")
        except OSError as error:
            self._fail(error)

    def _read(self) -> None:
        lines = read_bounded(self.file, _LARGEST, GenerateError).splitlines()
        for line in lines[-_MOST_ENTRIES:]:
            with contextlib.suppress(ValueError):  # a line that a crash cut off
                entry = json.loads(line)
                self.entries += [entry] if isinstance(entry, str) else []
        if len(lines) > 2 * _MOST_ENTRIES:
            with atomic_file(self.file) as temporary:
                temporary.touch(mode=0o600)
                temporary.write_bytes(b"\n".join(lines[-_MOST_ENTRIES:]) + b"\n")

    def _fail(self, error: Exception) -> None:
        self._works = False
        reason = error.strerror if isinstance(error, OSError) else str(error)
        warn(f"{self.file}: earlier turns are not kept: {reason}")


def history_file() -> Path:
    """The file of this user's turns, by the XDG base directory specification."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "puna" / "chat_history"
