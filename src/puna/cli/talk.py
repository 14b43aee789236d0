"""A chat, turn by turn: what the model says goes to standard output, everything else to standard error."""

import contextlib
import signal
import sys
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Protocol

from puna.chat.conversation import Conversation
from puna.chat.messages import load_messages, save_messages
from puna.core.console import console, print_text, say
from puna.core.errors import GenerateError, StorageError, UserError

HELP = {
    "/help": "this list",
    "/reset": "begin again; the system prompt stays",
    "/system TEXT": "set the system prompt; without TEXT it is shown",
    "/undo": "take back the last turn and its answer",
    "/save FILE": "write the conversation as JSON; /save! replaces a file that is there",
    "/load FILE": "go on with a conversation that /save wrote",
    "/quit": "leave, as Ctrl-D does",
}
_NOTES = (
    'A line that ends with \\ goes on in the next one, and so does a block from """ to """.',
    "Ctrl-C stops an answer and keeps what is there; pressed again, it leaves.",
    "A turn that is to begin with / begins with a space.",
)
_LONGEST_QUOTE = 60
"""Characters of a turn that are enough to recognise it."""


class Turns(Protocol):
    """Where turns come from: `puna.cli.turns`."""

    def turn(self) -> str:
        """The next turn; EOFError where there is none."""


class Chat(Protocol):
    """Who answers: `puna.api.chat`."""

    conversation: Conversation

    def say(self, text: str) -> Generator[str]:
        """The answer in pieces, empty ones while nothing is certain; closed before its end, it keeps what is there."""

    def summary(self) -> str:
        """Tokens and speed of the last answer, and how full the context is."""


class Talk:
    """Turns and answers until somebody leaves.

    Args:
        chat: Who answers.
        turns: Where turns come from.
        interactive: Whether a person is at a terminal, who sees an error and goes on. Otherwise an error is the end.
    """

    def __init__(self, chat: Chat, turns: Turns, *, interactive: bool) -> None:
        self._chat, self._turns, self._interactive = chat, turns, interactive
        self._commands = {
            "/help": self._help, "/reset": self._reset, "/system": self._system, "/undo": self._undo,
            "/save": self._save, "/save!": self._replace, "/load": self._load,
        }  # fmt: skip
        self._pressed = False
        """Whether Ctrl-C was the last thing that happened."""

    def run(self) -> None:
        """Read turns and write answers until the input ends, or until `/quit`.

        Raises:
            UserError: A turn cannot be answered, and nobody is there to write another one.
            KeyboardInterrupt: Ctrl-C, likewise.
        """
        while True:
            try:
                turn = self._turns.turn()
                self._pressed = False
                if turn.startswith("/") and turn.split()[0] == "/quit":
                    return
                if turn.strip():
                    self._take(turn)
            except EOFError:
                return
            except KeyboardInterrupt:
                if not self._interactive:
                    raise
                say("" if self._pressed else "\nCtrl-C again leaves")
                if self._pressed:
                    return
                self._pressed = True
            except UserError as error:
                if not self._interactive:
                    raise
                say(f"error: {error}")

    def _take(self, turn: str) -> None:
        """Do what a turn says, or answer it."""
        if not turn.startswith("/"):
            self._answer(turn.removeprefix(" ") if turn.startswith(" /") else turn)
            return
        word, *rest = turn.split(maxsplit=1)
        if word not in self._commands:
            raise GenerateError(f"{word} is not a command", hint="/help lists them; a space before it makes it text")
        self._commands[word]("".join(rest).strip())

    def _answer(self, turn: str) -> None:
        conversation, before = self._chat.conversation, self._chat.conversation.left_out
        pieces = self._chat.say(turn)
        if (left_out := conversation.left_out) > before:
            first = _quoted(conversation.turns[left_out].content)
            say(f"the context is full: the model no longer reads the first {left_out} turns, and begins with {first}")
        begun = False
        try:
            with contextlib.closing(pieces), _unseen(), _ctrl_c() as pressed:
                for piece in pieces:
                    # Some models begin each answer with a space, which stays in the conversation.
                    piece = piece if begun else piece.lstrip()
                    begun = begun or bool(piece)
                    print_text(piece)
                    if pressed():
                        self._pressed = True
                        break
        finally:
            print_text("\n" if begun else "")
        if self._pressed and not self._interactive:
            raise KeyboardInterrupt  # nobody is there to press again
        if self._pressed and not begun:
            say("stopped before the first word; the turn is taken back")
        else:
            console().print(f"[{self._chat.summary()}]", style="dim", markup=False)

    def _help(self, argument: str) -> None:
        width = max(map(len, HELP))
        for line in (*(f"{name:{width}}  {what}" for name, what in HELP.items()), *_NOTES):
            say(line)

    def _reset(self, argument: str) -> None:
        self._chat.conversation.reset()
        say("the conversation begins again")

    def _system(self, argument: str) -> None:
        if argument:
            self._chat.conversation.system = argument
        say(f"the system prompt is: {self._chat.conversation.system or '(none)'}")

    def _undo(self, argument: str) -> None:
        taken = self._chat.conversation.undo()
        say("there is no turn to take back" if taken is None else f"taken back: {_quoted(taken)}")

    def _save(self, argument: str, replace: bool = False) -> None:
        file, messages = _file(argument, "/save"), self._chat.conversation.messages
        try:
            save_messages(file, messages, replace=replace)
        except StorageError as error:
            hint = f"/save! {argument} replaces it" if "exists already" in error.message else error.hint
            raise StorageError(error.message, hint=hint) from None
        say(f"saved {len(messages)} turns to {file}")

    def _replace(self, argument: str) -> None:
        self._save(argument, replace=True)

    def _load(self, argument: str) -> None:
        messages = load_messages(_file(argument, "/load"))
        self._chat.conversation.replace(messages)
        last = f"; the last one is {_quoted(messages[-1].content)}" if messages else ""
        say(f"loaded {len(messages)} turns{last}")


def _file(argument: str, command: str) -> Path:
    if not argument:
        raise GenerateError(f"{command} needs the name of a file")
    return Path(argument).expanduser()


def _quoted(text: str) -> str:
    line = " ".join(text.split())
    return f'"{line}"' if len(line) <= _LONGEST_QUOTE else f'"{line[: _LONGEST_QUOTE - 3]}..."'


@contextlib.contextmanager
def _ctrl_c() -> Iterator[Any]:
    """While entered, the first Ctrl-C is only noted; yields a function that tells. A second one raises, as usual."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    noted: list[int] = []

    def note(number: int, frame: object) -> None:
        if noted:
            raise KeyboardInterrupt
        noted.append(number)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(noted)
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _unseen() -> Iterator[None]:
    """While entered, keys are not shown: what is typed ahead does not mix with the answer, and is there afterwards."""
    with contextlib.ExitStack() as undo:
        with contextlib.suppress(ImportError, OSError, ValueError):  # not a terminal, not Unix
            import termios

            terminal = sys.stdin.fileno()
            if sys.stdin.isatty():
                before = termios.tcgetattr(terminal)
                changed = [*before]
                changed[3] &= ~termios.ECHO
                termios.tcsetattr(terminal, termios.TCSANOW, changed)
                undo.callback(termios.tcsetattr, terminal, termios.TCSANOW, before)
        yield
