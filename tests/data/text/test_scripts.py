import pytest

from puna.data.text.scripts import lowered, raised


@pytest.mark.parametrize(
    ("before", "text", "expected"),
    [
        ("0", "6", "⁶"),
        ("0", "-3", "⁻³"),
        ("H", "+", "⁺"),
        ("9", "th", "th"),
        ("1", "er", "er"),
        ("X", "e", "e"),
        ("5", "a", "a"),
        ("x", "k", "^k"),
        ("e", "i2", "^i2"),
        ("", "1", "¹"),
        (" ", "note", "note"),
        ("x", "two words", "two words"),
        ("x", "", ""),
    ],
)
def test_a_superscript_keeps_its_meaning(before, text, expected):
    assert raised(text, before) == expected


@pytest.mark.parametrize(
    ("before", "text", "expected"),
    [
        ("H", "2", "₂"),
        ("x", "i", "_i"),
        ("V", "max", "_max"),
        ("H", "3(aq)", "₃(aq)"),
        ("O", "(l)", "(l)"),
        ("x", "", ""),
    ],
)
def test_a_subscript_keeps_its_meaning(before, text, expected):
    assert lowered(text, before) == expected
