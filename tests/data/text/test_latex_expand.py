import pytest
from growth import calls
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.data.text.latex_expand import expand


@pytest.mark.parametrize(
    ("definitions", "source", "expected"),
    [
        (r"\newcommand{\R}{\mathbb{R}}", r"$\R$", r"$\mathbb{R}$"),
        (r"\newcommand{\n}[1]{|#1|}", r"\n{a+\n{b}}", "|a+|b||"),
        (r"\newcommand{\n}[1]{|#1|}", r"\n x \n\alpha", r"|x| |\alpha|"),
        (r"\newcommand{\x}[2][d]{#1-#2}", r"\x{a} \x[b]{c} \x[{]}]ef", "d-a b-c {]}-ef"),
        (r"\def\p(#1,#2){<#1|#2>}", r"\p(a,{b)}) \p(1", r"<a|b)> \p(1"),
        (r"\def\a{\b}\def\b{c}", r"\a", "c"),
        (r"\def\a{\b}\def\b#1{<#1>}", r"\a{x}y", "<x>y"),
        (r"\newcommand{\be}{\begin{equation}}\newcommand{\ee}{\end{equation}}", "\\be\nx\n\\ee\ny",
         "\\begin{equation}\nx\n\\end{equation}\ny"),
        (r"\newenvironment{e}[1]{\begin{q}[#1]}{\end{q}}", r"\begin{e}{1}x\end{e}", r"\begin{q}[1]x\end{q}"),
        (r"\DeclareMathOperator{\tr}{tr}", r"\tr A", r"\operatorname{tr}A"),
        (r"\let\eps\varepsilon", r"\eps x \eps{}x", r"\varepsilon x \varepsilon{}x"),
        (r"\let\o\phi\let\phi\varphi\let\varphi\o", r"\phi\varphi", r"\varphi\phi"),
        (r"\newcommand{\x}{1}\providecommand{\x}{2}\providecommand{\y}{3}", r"\x\y", "13"),
        (r"\newcommand{\x}{1}\renewcommand{\x}{2}", r"\x", "2"),
        (r"\newcommand{\c}{\cal}", r"\c A \c{}A", r"\cal A \cal{}A"),
        (r"\newcommand{\v}[1]{\vec #1}", r"\v{a}b \v\alpha b", r"\vec ab \vec \alpha b"),
        (r"\newcommand{\todo}[1]{}", r"a\todo{hidden} b", "a b"),
    ],
)  # fmt: skip
def test_a_macro_becomes_what_it_stands_for(definitions: str, source: str, expected: str) -> None:
    assert expand(definitions + source) == expected


def test_a_definition_before_a_comment_line_is_gone_with_its_line() -> None:
    assert expand("a\n\\newcommand{\\x}{y}\n\\def\\z{w}\nb \\x\\z.\n") == "a\nb yw.\n"


def test_space_behind_a_command_is_skipped_as_tex_does() -> None:
    assert expand(r"\def\GP{GP}\GP s, \GP\ x, \GP{} x") == r"GPs, GP\ x, GP x"


def test_xspace_puts_a_space_before_words_only() -> None:
    definitions = r"\newcommand{\foo}{Foo\xspace}\def\bar{\foo}"
    assert (
        expand(definitions + r"\foo is \foo, (\foo) \bar is \bar. \foo--x \foo")
        == "Foo is Foo, (Foo) Foo is Foo. Foo--x Foo"
    )


@pytest.mark.parametrize(
    ("definition", "source"),
    [
        (r"\def\x{\x}", r"\x"),
        (r"\def\x{a\y}\def\y{b\x}", r"\x \y"),
        (r"\def\x{\expandafter\y}", r"\x y"),
        (r"\newcommand{\x}[2]{#1#2}", r"\x{a"),
        (r"\newcommand{\x}[1]{#1}", r"{\x}"),
        (r"\newcommand{\x}[1]{#1}", "\\x\n\nparagraph"),
        (r"\def\x(#1){#1}", r"\x a)"),
        (r"\def\x(#1){#1}", "\\x(a\n\nb)"),
        (r"\let\x\relax", r"\x y"),
    ],
)
def test_what_cannot_be_expanded_stays_a_command(definition: str, source: str) -> None:
    assert expand(definition + source) == source


def test_names_with_an_at_sign_do_not_hide_a_macro_before_one() -> None:
    assert expand(r"\def\me{I}\me@home") == "I@home"


@pytest.mark.parametrize(
    "source",
    [
        "".join(rf"\def\{chr(97 + n)}{{\{chr(98 + n)}\{chr(98 + n)}}}" for n in range(25)) + r"\def\z{ha}\a",
        "".join(rf"\def\{chr(97 + n)}{{\{chr(98 + n)}\{chr(98 + n)}}}" for n in range(25)) + r"\def\z{}\a",
        r"\newcommand{\x}[1]{#1#1}" + r"\x{" * 200 + "}" * 200,
        r"\newcommand{\x}[1]{#1}" + r"\x{" * 50_000,
        r"\newcommand{\x}[2][]{#1}" + r"\x[" * 50_000,
        r"\def\x(#1){#1}" + r"\x(" * 50_000,
        r"\def\x{" * 50_000,
        r"\newcommand" * 50_000,
        "".join(rf"\def\x{'ab'[n % 2]}{{\y}}\xa " for n in range(20_000)),
    ],
)
def test_hostile_macros_cost_bounded_time_and_space(source: str) -> None:
    before, text = calls(lambda: None), []
    count = calls(lambda: text.append(expand(source))) - before
    assert len(text[0]) < 1_000_000 + 20 * len(source)
    assert count < 4_000_000 + 100 * len(source)


NAMES = [f"m{'abcdefgh'[n]}" for n in range(8)]


@st.composite
def programs(draw: st.DrawFn) -> tuple[str, str]:
    """Definitions and a text that uses them, and what it stands for by plain substitution in Python."""
    macros: list[tuple[str, int, list]] = []

    def pieces(arity: int, depth: int) -> list:
        found: list = []
        for _ in range(draw(st.integers(0, 3))):
            kind = draw(st.integers(0, 3))
            if kind == 0 and arity:
                found.append(draw(st.integers(0, arity - 1)))
            elif kind == 1 and macros and depth < 3:
                index = draw(st.integers(0, len(macros) - 1))
                found.append((index, [pieces(arity, depth + 1) for _ in range(macros[index][1])]))
            else:
                found.append(draw(st.sampled_from(["a", "b.", "(1)", " ", r"\,", "{x}", r"\alpha{}"])))
        return found

    def source(tree: list) -> str:
        out = ""
        for piece in tree:
            if isinstance(piece, int):
                out += f"#{piece + 1}"
            elif isinstance(piece, tuple):
                name, arity, _ = macros[piece[0]]
                out += rf"\{name}" + "".join(f"{{{source(argument)}}}" for argument in piece[1])
                # Not `{}`, which belongs to the name, nor a letter, which would.
                out += "" if arity else "!"
            else:
                out += piece
        return out

    def meaning(tree: list, arguments: list[str]) -> str:
        out = ""
        for piece in tree:
            if isinstance(piece, int):
                out += arguments[piece]
            elif isinstance(piece, tuple):
                _, arity, body = macros[piece[0]]
                out += meaning(body, [meaning(argument, arguments) for argument in piece[1]]) + ("" if arity else "!")
            else:
                out += piece
        return out

    for name in NAMES[: draw(st.integers(0, 6))]:
        arity = draw(st.integers(0, 3))
        macros.append((name, arity, pieces(arity, 0)))
    text = pieces(0, 0)
    definitions = "".join(rf"\newcommand{{\{name}}}[{arity}]{{{source(body)}}}" for name, arity, body in macros)
    return definitions + source(text), meaning(text, [])


@given(programs())
@settings(max_examples=300)
def test_expansion_is_plain_substitution(program: tuple[str, str]) -> None:
    source, expected = program
    assert expand(source) == expected


@given(st.text(alphabet="\\{}[]#12ab \n@%()", max_size=60).map(lambda text: text.replace("a", r"\newcommand{\b}")))
@settings(max_examples=300)
def test_any_source_ends(source: str) -> None:
    expand(source)
