import pytest

from puna.data.text.latex_comments import with_protected, without_comments


def read(text: str) -> str:
    protected: list[str] = []
    return with_protected(without_comments(text, protected), protected)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("word% note\nnext", "wordnext"),  # as TeX sets it; the reference ate the letter before the sign
        ("word % note\nnext", "word\nnext"),
        ("word%", "word"),
        (r"50\% of it", r"50\% of it"),
        ("line\\\\% note\nnext", "line\\\\\nnext"),
        ("line\\\\\\% kept\nnext", "line\\\\\\% kept\nnext"),
        ("a\n% whole line\n  % indented\nb", "a\nb"),
        ("a% note\n\nb", "a\n\nb"),
        ("a\n%\nb", "a\nb"),
        ("\\alpha% note\nb", "\\alpha\nb"),
        ("\\foo{%\n  bar}", "\\foo{bar}"),
    ],
)
def test_a_comment_leaves_what_tex_leaves(source: str, expected: str) -> None:
    assert read(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "\\begin{verbatim}\n100% sure % indeed\n\\end{verbatim}",
        '\\begin{lstlisting}[language=C]\nprintf("%d");\n\\end{lstlisting}',
        "\\verb|50%| and \\verb*+%+",
        "\\lstinline{x % y}",
        "\\url{http://a.example/%7Eb}",
        "\\href{http://a.example/?q=%20}{a b}",
        "\\lstnewenvironment{code}{}{}\n\\begin{code}\na % b\n\\end{code}",
    ],
)
def test_a_per_cent_sign_in_verbatim_text_is_not_a_comment(source: str) -> None:
    assert read(source) == source


def test_environments_that_hide_go_away_with_their_lines() -> None:
    assert read("a\n\\begin{comment}\nhidden\n\\end{comment}\nb") == "a\nb"
    assert (
        read("\\begin{filecontents*}{x.bib}\n@book{x}\n\\end{filecontents*}\n\\documentclass{a}")
        == "\\documentclass{a}"
    )
    assert read("$x$\n\\begin{htmlonly}\nx\n\\end{htmlonly}\ny") == "$x$\ny"
    assert read("\\excludecomment{draft}\n\\begin{draft}x\\end{draft}y").endswith("\ny")


def test_an_environment_that_does_not_end_hides_nothing() -> None:
    assert read("\\begin{comment} a % b\nc") == "\\begin{comment} a\nc"
    assert read("\\begin{verbatim} a % b\nc") == "\\begin{verbatim} a\nc"


def test_repeated_pieces_do_not_grow_without_bound() -> None:
    assert with_protected("\x000\0" * 1000, ["x" * 100]) == "x" * 400
