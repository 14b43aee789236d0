# ruff: noqa: RUF001 (characters that look alike are what these strings are about)
import pytest

from puna.data.readers.wikitext_patterns import TemplateCall, compile_pattern


def text_of(pattern, *positional, **named):
    functions = {"f": lambda call, argument: f"({argument}|{call.get(0)})"}
    return compile_pattern(pattern, functions)(TemplateCall("x", list(positional), named))


@pytest.mark.parametrize(
    ("pattern", "positional", "named", "expected"),
    [
        ("{1|text}", ["a"], {}, "a"),
        ("{1|text}", [""], {"text": "b"}, "b"),
        ("{1|text}", [], {}, ""),
        ("{-1}", ["a", "b"], {}, "b"),
        ("{2}", [], {"2": "c"}, "c"),
        ("{1}{2:e} s", ["XIX"], {}, "XIXe s"),
        ("{1}{2:e} s", [], {}, "e s"),
        ("c. {1}< – c. {2}>", ["1", "2"], {}, "c. 1 – c. 2"),
        ("c. {1}< – c. {2}>", ["1"], {}, "c. 1"),
        ("c. {1}", [], {}, ""),
        ("c.< {1}>", [], {}, ""),
        ("{1}< ({2}<, {3}>)>", ["a", "", "c"], {}, "a"),
        ("{1}< ({2}<, {3}>)>", ["a", "b", "c"], {}, "a (b, c)"),
        ("–", ["a"], {}, "–"),
        ("@f:, ", ["a"], {}, "(, |a)"),
        ("×@f", ["a"], {}, "×(|a)"),
    ],
)
def test_a_pattern_puts_the_arguments_into_its_words(pattern, positional, named, expected):
    assert text_of(pattern, *positional, **named) == expected


@pytest.mark.parametrize("pattern", ["<{1}", "{1}>", "@unknown"])
def test_a_pattern_that_is_not_well_formed_is_refused(pattern):
    with pytest.raises(ValueError, match=r"names no function|open"):
        text_of(pattern)
