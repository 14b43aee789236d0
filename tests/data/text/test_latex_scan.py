from puna.data.text.latex_scan import (
    after_spaces,
    ends_in_control_word,
    group_end,
    joined,
    option_end,
    token_end,
    without,
)


def test_a_group_ends_at_its_own_brace() -> None:
    text = r"{a{b}\}c}d"
    assert text[: group_end(text, 0)] == r"{a{b}\}c}"
    assert group_end("{a{b}", 0) == -1
    assert group_end("{abc}", 0, 3) == -1


def test_an_option_may_hold_brackets_in_a_group_only() -> None:
    assert option_end("[a{]}b]c", 0) == 7
    assert option_end("[a}b]", 0) == -1
    assert option_end("[a", 0) == -1


def test_spaces_before_an_argument_hold_no_paragraph() -> None:
    assert after_spaces("  \n  x", 0) == 5
    assert after_spaces(" \n\nx", 0) == 1


def test_a_token_is_a_command_a_character_or_a_protected_piece() -> None:
    assert token_end(r"\alpha b", 0) == 6
    assert token_end(r"\,b", 0) == 2
    assert token_end("\x0012\0b", 0) == 4
    assert token_end("b", 0) == token_end("\\", 0) == token_end("\0b", 0) == 1


def test_a_command_does_not_grow_by_what_is_put_behind_it() -> None:
    assert ends_in_control_word(r"a\cal")
    assert not ends_in_control_word(r"a\\cal")
    assert not ends_in_control_word(r"\cal ")
    assert joined([r"\cal", "A"]) == r"\cal A"
    assert joined([r"\cal", "", "A"]) == r"\cal A"
    assert joined([r"\cal", "1", "A"]) == r"\cal1A"


def test_cuts_may_overlap() -> None:
    assert without("0123456789", [(1, 5), (2, 3), (4, 6), (8, 9)]) == "0679"
