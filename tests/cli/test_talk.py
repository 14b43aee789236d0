"""A chat without a model: turns, commands, Ctrl-C, and what goes where."""

import json
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from chatting import Parrot
from terminals import terminal

from puna.chat.messages import Message, load_messages
from puna.cli.talk import HELP, Talk
from puna.core.errors import GenerateError, UserError

Said = Callable[..., tuple[str, list[str]]]


class Script:
    """Turns that were written before; an exception among them is raised."""

    def __init__(self, turns: Sequence[str | type[BaseException]]) -> None:
        self._turns = iter(turns)

    def turn(self) -> str:
        """The next one."""
        turn = next(self._turns, None)
        if turn is None:
            raise EOFError
        if isinstance(turn, str):
            return turn
        raise turn


@pytest.fixture
def parrot() -> Parrot:
    return Parrot()


@pytest.fixture
def talk(parrot: Parrot, capsys: pytest.CaptureFixture[str]) -> Said:
    def run(*turns: str | type[BaseException], interactive: bool = True) -> tuple[str, list[str]]:
        Talk(parrot, Script(turns), interactive=interactive).run()
        out, err = capsys.readouterr()
        return out, err.splitlines()

    return run


def test_answers_go_to_standard_output_and_everything_else_to_standard_error(talk: Said) -> None:
    out, err = talk("hello", "two\nlines", "", "  ")
    assert out == "HELLO\nTWO\nLINES\n"
    assert err == ["[2 turns]", "[4 turns]"]


def test_a_chat_that_nobody_watches_ends_with_its_input_or_its_first_error(talk: Said) -> None:
    assert talk("hello", interactive=False) == ("HELLO\n", ["[2 turns]"])
    with pytest.raises(GenerateError, match="not finite"):
        talk("hello", "fail", "not reached", interactive=False)
    with pytest.raises(UserError, match="/nothing is not a command"):
        talk("/nothing", interactive=False)
    with pytest.raises(KeyboardInterrupt):
        talk(KeyboardInterrupt, interactive=False)


def test_ctrl_c_during_an_answer_ends_a_chat_that_nobody_watches(
    talk: Said, parrot: Parrot, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(text: str) -> Iterator[str]:
        yield "H"
        signal.raise_signal(signal.SIGINT)
        yield "E"

    monkeypatch.setattr(parrot, "_answer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        talk("hello", "not reached", interactive=False)
    assert parrot.heard == ["hello"]
    assert capsys.readouterr().out == "HE\n"


def test_at_a_terminal_an_error_is_said_and_the_chat_goes_on(talk: Said, parrot: Parrot) -> None:
    out, err = talk("fail", "hello")
    assert out == "HELLO\n"
    assert err[0] == "error: the logits are not finite"
    assert parrot.conversation.messages == [Message("user", "hello"), Message("assistant", "HELLO")]


def test_a_space_before_an_answer_is_not_shown_and_stays_in_the_conversation(talk: Said, parrot: Parrot) -> None:
    assert talk("space")[0] == "A B\n"
    assert parrot.conversation.turns[-1].content == "  A B"


def test_quit_ends_and_what_begins_with_a_space_is_text(talk: Said, parrot: Parrot) -> None:
    assert talk(" /quit", "/quit", "not reached")[0] == "/QUIT\n"
    assert parrot.heard == ["/quit"]


def test_ctrl_c_twice_at_the_prompt_leaves_and_a_turn_in_between_forgives_it(talk: Said) -> None:
    out, err = talk(KeyboardInterrupt, "hello", KeyboardInterrupt, KeyboardInterrupt, "not reached")
    assert out == "HELLO\n"
    assert err == ["", "Ctrl-C again leaves", "[2 turns]", "", "Ctrl-C again leaves", ""]


def test_commands_change_the_conversation(talk: Said, parrot: Parrot) -> None:
    _, err = talk("/system Be brief.\nAlways.", "one", "two", "/undo", "/undo", "/undo", "/system", "three", "/reset")
    assert [line for line in err if not line.startswith("[")] == [
        "the system prompt is: Be brief.", "Always.", 'taken back: "two"', 'taken back: "one"',
        "there is no turn to take back", "the system prompt is: Be brief.", "Always.", "the conversation begins again",
    ]  # fmt: skip
    assert parrot.conversation.messages == [Message("system", "Be brief.\nAlways.")]


def test_help_names_every_command_and_unknown_ones_lead_to_it(talk: Said) -> None:
    _, err = talk("/help", "/nothing at all")
    for name in HELP:
        assert any(line.startswith(name) for line in err)
    assert err[-2:] == [
        "error: /nothing is not a command",
        "  hint: /help lists them; a space before it makes it text",
    ]


def test_a_conversation_is_saved_and_loaded(talk: Said, parrot: Parrot, tmp_path: Path) -> None:
    file = tmp_path / "a talk.json"
    _, err = talk("/system Be brief.", "hé", f"/save {file}", "/reset", "/system Sing.", f"/load {file}")
    assert f"saved 3 turns to {file}" in err
    assert 'loaded 3 turns; the last one is "HÉ"' in err
    assert load_messages(file) == parrot.conversation.messages
    assert parrot.conversation.system == "Be brief."


def test_no_file_is_replaced_without_saying_so(talk: Said, tmp_path: Path) -> None:
    file = tmp_path / "mine"
    file.write_text("mine")
    _, err = talk("one", f"/save {file}", "/save", "/load", f"/load {file}")
    assert err[1:] == [
        f"error: {file}: exists already", f"  hint: /save! {file} replaces it", "error: /save needs the name of a file",
        "error: /load needs the name of a file",
        f"error: {file}: is not JSON: Expecting value: line 1 column 1 (char 0)",
    ]  # fmt: skip
    assert file.read_text() == "mine"
    talk(f"/save! {file}")
    assert len(json.loads(file.read_text())["messages"]) == 2


def test_turns_that_no_longer_fit_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    parrot = Parrot(context=9)
    Talk(parrot, Script(["a b c", "d e f", "g h i"]), interactive=False).run()
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "[2 turns]",
        'the context is full: the model no longer reads the first 2 turns, and begins with "d e f"',
        "[4 turns]",
        'the context is full: the model no longer reads the first 4 turns, and begins with "g h i"',
        "[6 turns]",
    ]


def test_signals_are_as_before_when_an_answer_has_ended(talk: Said) -> None:
    before = signal.getsignal(signal.SIGINT)
    talk("hello", "fail")
    assert signal.getsignal(signal.SIGINT) is before


CHAT = f"""
sys.path.insert(0, {str(Path(__file__).parents[1] / "fixtures")!r})
from pathlib import Path
from chatting import Parrot
from puna.cli.talk import Talk
from puna.cli.turns import Terminal
parrot = Parrot()
Talk(parrot, Terminal(Path(sys.argv[1])), interactive=True).run()
print([turn.content for turn in parrot.conversation.turns])
"""


def test_ctrl_c_stops_an_answer_and_keeps_it_and_a_second_one_leaves(tmp_path: Path) -> None:
    with terminal(CHAT, [str(tmp_path / "history")]) as screen:
        screen.expect("> ")
        screen.type("endless\n")
        screen.expect("ENDLESS")
        screen.type("\x03")
        screen.expect("[2 turns]")
        screen.expect("> ")
        screen.type("silence\n")
        screen.expect("reading")
        screen.type("\x03")
        screen.expect("stopped before the first word; the turn is taken back")
        screen.expect("> ")
        screen.type("hello\n")
        screen.expect("HELLO")
        screen.expect("> ")
        screen.type("half a li")
        screen.expect("half a li")
        assert "Ctrl-C again leaves" in screen.press_until("\x03", "['endless', 'ENDLESS', 'hello', 'HELLO']")
        assert screen.end() == 0


def test_what_is_typed_during_an_answer_is_not_shown_in_it_and_is_the_next_turn(tmp_path: Path) -> None:
    with terminal(CHAT, [str(tmp_path / "history")]) as screen:
        screen.expect("> ")
        screen.type("until 5 keys\n")
        screen.expect("UNTIL")
        screen.type("next\n")
        assert "next" not in screen.expect("[2 turns]")
        screen.expect("NEXT")
        screen.expect("> ")
        screen.type("\x04")
        assert screen.end() == 0


def test_an_answer_cannot_command_the_terminal_and_emoji_stay(tmp_path: Path) -> None:
    with terminal(CHAT, [str(tmp_path / "history")]) as screen:
        screen.expect("> ")
        screen.type("bell\n")
        screen.expect("\r\n")
        shown = screen.expect("[2 turns]")
        assert "\\x07\\x1b[31mred\\x9b 🙂\\u202e é\r\n\r\n" in shown
        screen.expect("> ")
        screen.type("\x04")
        assert screen.end() == 0


def test_through_a_pipe_an_answer_is_given_as_it_is(talk: Said) -> None:
    assert not sys.stdout.isatty()
    assert talk("bell", interactive=False)[0] == "\a\x1b[31mred\x9b 🙂\u202e é\n\n"
