"""Turns of one line and of several, from a pipe and with keys at a terminal, and the history of earlier ones."""

import io
import json
import os
import stat
import sys
from pathlib import Path

import pytest
from terminals import terminal

from puna.cli.turns import History, Lines, history_file, read_turn
from puna.core.errors import GenerateError


def turns(text: str) -> list[str]:
    lines = iter(text.split("\n"))
    found = []

    def read(prompt: str) -> str:
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    while True:
        try:
            found.append(read_turn(read))
        except EOFError:
            return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one\ntwo", ["one", "two"]),
        ("one\\\ntwo\\\nthree\nfour", ["one\ntwo\nthree", "four"]),
        ("one\\", ["one\n"]),
        ('"""\none\n\ntwo\n"""\nthree', ["one\n\ntwo", "three"]),
        ('"""one\ntwo"""\nthree', ["one\ntwo", "three"]),
        ('  """one"""  ', ["one"]),
        ('"""\n  indented \\\n"""', ["  indented \\"]),
        ('"""one\ntwo', ["one\ntwo"]),
        ('say """x"""', ['say """x"""']),
        ("", [""]),
    ],
)
def test_lines_become_turns(text: str, expected: list[str]) -> None:
    assert turns(text) == expected


def test_lines_of_a_pipe_are_turns_whatever_ends_them(monkeypatch: pytest.MonkeyPatch) -> None:
    content = 'Hé 🙂\r\none\\\ntwo\n"""\na\nb\n"""\nlast'.encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    lines = Lines()
    assert [lines.turn() for _ in range(4)] == ["Hé 🙂", "one\ntwo", "a\nb", "last"]
    with pytest.raises(EOFError):
        lines.turn()


def test_a_line_that_is_not_text_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"ab\xff\n")))
    with pytest.raises(GenerateError, match="standard input: is not UTF-8 text"):
        Lines().turn()


def test_the_mark_with_which_some_systems_begin_a_text_is_not_of_the_first_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\ufeffa\n\ufeffb\n".encode())))
    lines = Lines()
    assert [lines.turn(), lines.turn()] == ["a", "\ufeffb"]


def test_standard_input_that_is_closed_has_no_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(EOFError):
        Lines().turn()


def test_history_is_kept_for_its_user_alone(tmp_path: Path) -> None:
    file = tmp_path / "state" / "puna" / "history"
    history = History(file)
    for turn in ("one", "two\nlines 🙂", "two\nlines 🙂", "x" * 20_000):
        history.add(turn)
    assert History(file).entries == ["one", "two\nlines 🙂"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_history_is_bounded_in_memory_and_in_its_file(tmp_path: Path) -> None:
    file = tmp_path / "history"
    file.write_bytes(b"".join(json.dumps(f"turn {n}").encode() + b"\n" for n in range(2001)))
    os.chmod(file, 0o600)
    assert History(file).entries == [f"turn {n}" for n in range(1001, 2001)]
    assert len(file.read_bytes().splitlines()) == 1000
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["history"]


def test_damaged_lines_of_the_history_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "history"
    file.write_bytes(b'"one"\n{"a": 1}\n"cut of\n\xff\n"two"\n')
    assert History(file).entries == ["one", "two"]


def test_a_history_that_cannot_be_kept_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "taken").write_text("")
    history = History(tmp_path / "taken" / "history")
    history.add("one")
    history.add("two")
    directory = History(tmp_path)
    directory.add("one")
    said = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[2:] for line in said] == [
        ["earlier turns are not kept", "File exists"],
        ["earlier turns are not kept", f"{tmp_path}", "is a directory, not a regular file"],
    ]


def test_the_place_of_the_history_is_the_users_state_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert history_file() == Path("/state/puna/chat_history")
    monkeypatch.setenv("XDG_STATE_HOME", "")
    monkeypatch.setenv("HOME", "/home/me")
    assert history_file() == Path("/home/me/.local/state/puna/chat_history")


ECHO = """
from pathlib import Path
from puna.cli.turns import Terminal
keyboard = Terminal(Path(sys.argv[1]), ["/save", "/system"])
while True:
    try:
        print("turn", ascii(keyboard.turn()), flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    except EOFError:
        break
"""


def test_lines_are_edited_completed_pasted_and_found_again(tmp_path: Path) -> None:
    file = tmp_path / "history"
    with terminal(ECHO, [str(file)]) as screen:
        screen.expect("> ")
        screen.type("helo\x1b[Dl\n")  # an arrow key to the left, and the letter that was missing
        screen.expect("turn 'hello'")
        screen.expect("> ")
        screen.type("\x1b[200~def f():\n    return '\u00e9'\n\x1b[201~\n")
        screen.expect("turn \"def f():\\n    return '\\xe9'\"")
        screen.expect("> ")
        screen.type("one\\\n")
        screen.expect(". ")
        screen.type("two\n")
        screen.expect("turn 'one\\ntwo'")
        screen.expect("> ")
        screen.type("/sy\tX\n")
        screen.expect("turn '/systemX'")
        screen.expect("> ")
        screen.type("lost")
        screen.expect("lost")
        screen.press_until("\x03", "interrupted")
        screen.expect("> ")
        screen.type("\x04")
        assert screen.end() == 0
    with terminal(ECHO, [str(file)]) as screen:
        screen.expect("> ")
        screen.type("\x1b[A\x1b[A\n")  # up, up
        screen.expect("turn 'one\\ntwo'")
        screen.expect("> ")
        screen.type("\x04")
        assert screen.end() == 0
