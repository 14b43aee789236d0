import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.data.text.code_comments import Passage, passages, plain
from puna.data.text.code_languages import COMMENTS


def words(text: str, language: str) -> list[str]:
    return [" ".join(passage.text.split()) for passage in passages(text, language, len(text))]


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        (
            "python",
            '#!/bin/a\n"""One.\n\nTwo.\n"""\nx = """\n# not\n"""\n# three\n\n# four\n',
            ["bin/a One. Two.", "three four"],
        ),
        ("python", "f(\n    '''no\n# no'''\n)\ndef g():\n    '''yes'''\n", ["yes"]),
        ("c", '/* a\n * b "x\n */\n// c\nchar *a = "/* no */"; // d\n', ['a b "x c', "d"]),
        ("c", "char c = '\"'; // a\nchar d = '\\''; /* b */\n", ["a", "b"]),
        ("javascript", "let a = `\n// no\n`; // yes\n", ["yes"]),
        ("perl", "print <<EOT;\n# no\nEOT\n1;\n=head1 A\n\nb\n\n=cut\n$x; # c\n", ["A b", "c"]),
        ("shell", "cat <<'X'\n# no\nX\n# yes\necho ${a#b} a#b\n", ["yes"]),
        ("css", '@charset "utf-8";/*! a */b{}', ["! a"]),
        ("batch", "@echo off\nREM a\nrem b\n", ["a b"]),
        ("html", "<!-- a -->\n<p>b <b>c</b></p>", ["a", "a b c"]),
        ("", "; a\n# b\n", ["a b"]),
        ("c", "/* never ends", []),
        ("c", "", []),
    ],
)
def test_comments_are_told_from_code_and_strings(language: str, text: str, expected: list[str]) -> None:
    assert [found.replace("! ", "").strip("<>!- ") for found in words(text, language)] == [
        found.replace("! ", "") for found in expected
    ]


def test_a_passage_knows_where_it_stands() -> None:
    text = "// a\nint x;\n" + "int y;\n" * 400 + "    // b\nint z;\n// c\n"
    assert list(passages(text, "c", len(text))) == [
        Passage("a", early=True, late=False), Passage("b", early=False, late=False), Passage("c", early=False,
         late=True),
    ]  # fmt: skip


def test_what_begins_behind_the_position_is_not_looked_at_unless_it_belongs_to_it() -> None:
    text = "# a\n# b\nx\n# c\n"
    assert [passage.text for passage in passages(text, "python", 1)] == ["a\nb"]


def test_frames_are_removed() -> None:
    assert plain("/****\n * a  *\n ** b\n-- c --\n<!-- d -->\n; e+\n") == "\na\nb\nc\nd\ne+\n"


@given(st.text(alphabet="/*#-\"'`<>{}!;=\\ \nab", max_size=200), st.sampled_from(["", *COMMENTS]))
def test_any_text_has_passages(text: str, language: str) -> None:
    assert all(isinstance(passage, Passage) for passage in passages(text, language, len(text)))


def test_marks_without_an_end_are_looked_for_once() -> None:
    assert words("/* " * 100_000, "c") == []
    assert words("<<a <<b <<c\n" * 20_000, "shell") == []
