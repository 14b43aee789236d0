import pytest

from puna.data.text.latex_macros import DefinitionReader, Macro


def read(source: str, command: str) -> tuple[dict[str, Macro], str]:
    """The macros after one definition, and what follows it."""
    reader = DefinitionReader(lambda count: None)
    end = reader.read(source, len(command) + 1, command)
    return reader.macros, source[end:] if end >= 0 else "no definition"


@pytest.mark.parametrize(
    ("source", "command", "macro"),
    [
        (r"\newcommand{\x}{a{b}}.", "newcommand", Macro("a{b}")),
        (r"\newcommand\x{a}.", "newcommand", Macro("a")),
        (r"\newcommand\x\y.", "newcommand", Macro(r"\y")),
        ("\\newcommand* {\\x} [2]\n {#1#2}.", "newcommand", Macro("#1#2", 2)),
        (r"\renewcommand{\x}[2][d{]}]{#1}.", "renewcommand", Macro("#1", 2, "d{]}")),
        (r"\def\x{a}.", "def", Macro("a")),
        (r"\def\x#1#2{#2}.", "def", Macro("#2", 2)),
        (r"\def\x(#1,#2){#2}.", "def", Macro("#2", 2, delimiters=("(", ",", ")"))),
        (r"\long\def\x#1{#1}.", "long", Macro("#1", 1)),
        (r"\global\long\gdef\x{b}.", "global", Macro("b")),
        (r"\let\x=\y.", "let", Macro(r"\y", frozen=True)),
        (r"\let\x\y.", "let", Macro(r"\y", frozen=True)),
        (r"\DeclareMathOperator{\x}{tr}.", "DeclareMathOperator", Macro(r"\operatorname{tr}")),
        (r"\DeclareMathOperator*{\x}{tr}.", "DeclareMathOperator", Macro(r"\operatorname*{tr}")),
        (r"\NewDocumentCommand{\x}{m m}{#2}.", "NewDocumentCommand", Macro("#2", 2)),
    ],
)
def test_every_way_to_define_is_read(source: str, command: str, macro: Macro) -> None:
    assert read(source, command) == ({"x": macro}, ".")


def test_an_environment_is_two_macros() -> None:
    macros, rest = read(r"\newenvironment{e}[1]{\begin{q}#1}{\end{q}}.", "newenvironment")
    assert macros == {"begin{e}": Macro(r"\begin{q}#1", 1), "end{e}": Macro(r"\end{q}")}
    assert rest == "."


@pytest.mark.parametrize(
    ("source", "command"),
    [
        (r"\newcommand{\x}", "newcommand"),
        (r"\newcommand{\x}[1{#1}", "newcommand"),
        (r"\newcommand{\x}[many]{#1}", "newcommand"),
        (r"\newcommand{\x}{never ends", "newcommand"),
        (r"\newcommand{x}{y}", "newcommand"),
        (r"\def\x", "def"),
        (r"\def", "def"),
        (r"\let\x", "let"),
        (r"\long and wide", "long"),
        ("\\" + "long" + r"\long" * 9 + r"\def\x{}", "long"),
        (r"\newenvironment{e}{a}", "newenvironment"),
    ],
)
def test_a_broken_definition_is_none(source: str, command: str) -> None:
    assert read(source, command) == ({}, "no definition")


def test_what_sections_are_called_is_not_redefined() -> None:
    assert read(r"\renewcommand\section{\@ifstar{\a}{\b}}.", "renewcommand") == ({}, ".")


def test_a_program_of_tex_is_not_expanded() -> None:
    assert not Macro(r"\expandafter\a\b").expands
    assert not Macro(r"\@ifnextchar[\a\b").expands
    assert not Macro(r"\ifmmode a\else b\fi").expands
    assert Macro(r"\ensuremath{a \iff b} \theta").expands


def test_arguments_take_their_places() -> None:
    assert Macro("#2-#1-##1", 2).filled(["a", "b"]) == "b-a-#1"
    assert Macro(r"\cal#1x", 1).filled(["A"]) == r"\cal Ax"
    assert Macro("#1x", 1).filled([r"\alpha"]) == r"\alpha x"
