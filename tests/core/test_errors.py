"""Users' errors: one tree, one sentence, a hint on its own line."""

import pickle

import pytest

from puna.core import errors
from puna.core.errors import ConfigError, DataError, UserError, shown

KINDS = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and kind not in (UserError, errors.Interrupted)
]


def test_every_error_is_a_user_error_and_is_drawn_in_the_tree_of_the_docstring() -> None:
    assert len(KINDS) == 12
    for kind in KINDS:
        assert issubclass(kind, UserError)
        assert f"── {kind.__name__} " in (errors.__doc__ or "")


def test_message_stands_alone_without_a_hint() -> None:
    assert str(DataError("a.txt: is empty")) == "a.txt: is empty"


def test_hint_has_a_line_of_its_own() -> None:
    assert str(DataError("a.txt: is empty", hint="delete it")) == "a.txt: is empty\n  hint: delete it"


def test_config_error_holds_one_problem_per_line() -> None:
    error = ConfigError(["first", "second"], hint="look")
    assert error.problems == ["first", "second"]
    assert str(error) == "first\nsecond\n  hint: look"


@pytest.mark.parametrize(
    "error",
    [DataError("a", hint="b"), ConfigError(["a", "b"], hint="c"), errors.OtherProcessError(), errors.Interrupted(15)],
)
def test_an_error_survives_the_way_between_processes(error: BaseException) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (str(copy), vars(copy)) == (str(error), vars(error))


def test_the_end_by_a_signal_passes_what_catches_errors_and_has_the_code_that_shells_expect() -> None:
    assert not issubclass(errors.Interrupted, Exception)
    assert errors.Interrupted(15).exit_code == 143


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("over\rwritten\x08\x7f", r"over\rwritten\x08\x7f"),
        ("\x9b2J", r"\x9b2J"),
        ("a\u202eb\u2066c\u200f", r"a\u202eb\u2066c\u200f"),
        ("line\u2028end\ufeff", r"line\u2028end\ufeff"),
        ("half\udc80", r"half\udc80"),
        ("two\nlines\tand 日本, naïve", "two\nlines\tand 日本, naïve"),
    ],
)
def test_what_would_steer_a_terminal_is_escaped(text: str, expected: str) -> None:
    assert shown(text) == expected
    error = UserError(text, hint=text)
    assert str(error) == f"{expected}\n  hint: {expected}"
    assert error.args == (expected,)


def test_a_line_that_is_too_long_is_cut_and_its_length_said() -> None:
    error = UserError("a.json: has " + "9" * 300_000 + "\nsecond")
    assert len(error.message) < 2100
    assert error.message.startswith("a.json: has 999")
    assert error.message.endswith("9 ... (300,012 characters)\nsecond")
