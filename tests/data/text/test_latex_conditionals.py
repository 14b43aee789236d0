import pytest

from puna.data.text.latex_conditionals import without_dead_branches


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a \\iffalse b \\fi c", "a c"),
        ("a\n\\iffalse\nb\n\\fi\nc", "a\nc"),
        ("\\iffalse a\\else b\\fi c", "bc"),
        ("\\iftrue a\\else b\\fi c", "ac"),
        ("\\iffalse \\ifnum1>0 a\\else b\\fi c\\fi d", "d"),
        ("\\iftrue a\\iffalse b\\fi c\\else d\\iftrue e\\fi\\fi f", "acf"),
        ("\\iffalse $a \\iff b$ \\ifthenelse{x}{y}{z}\\fi d", "d"),
        ("\\iftrue a\n\n\\fi b", "a\n\nb"),
    ],
)
def test_only_the_branch_that_is_taken_stays(source: str, expected: str) -> None:
    assert without_dead_branches(source) == expected


@pytest.mark.parametrize(
    ("preamble", "value"),
    [
        ("\\newif\\ifdraft\n", False),
        ("\\newif\\ifdraft\\drafttrue\n", True),
        ("\\newif\\ifdraft\n\\draftfalse\n", False),
        ("\\let\\ifdraft\\iftrue\n", True),
        ("\\let\\ifdraft=\\iffalse\n", False),
    ],
)
def test_a_switch_has_the_value_that_it_is_set_to(preamble: str, value: bool) -> None:
    assert without_dead_branches(preamble + "\\ifdraft yes\\else no\\fi").strip() == ("yes" if value else "no")


@pytest.mark.parametrize(
    "source",
    [
        "\\ifnum1>0 a\\fi \\iff",
        "\\newif\\ifa\\atrue\\ifa x\\fi\\afalse",
        "\\def\\hide{\\iffalse}\\def\\show{\\fi}",
        "\\iffalse never ends",
        "a \\fi b \\else c",
    ],
)
def test_what_is_not_known_stays_as_it_is(source: str) -> None:
    assert without_dead_branches(source) == source
