"""Curves as characters: where dots stand, and that every curve can be told by its name."""

from puna.report.plot_text import Curve, plot


def drawn(*curves: Curve, width: int = 60, height: int = 8, braille: bool = False) -> list[str]:
    return [line.plain for line in plot(list(curves), width=width, height=height, across="tokens", braille=braille)]


FALLING = Curve("falling", "red", [(0, 4.0), (1000, 2.0)])
FLAT = Curve("flat", "blue", [(500, 3.0), (1000, 3.0)])


def test_a_falling_line_goes_from_the_upper_left_to_the_lower_right():
    lines = drawn(FALLING)
    assert lines[0].startswith("4.000 |a")
    assert lines[7].startswith("2.000 |")
    assert lines[7].endswith("a a falling")
    columns = [line.index("a") for line in (line.partition("|")[2] for line in lines[:8])]
    assert columns == sorted(columns)
    assert lines[8].startswith("      +0")
    assert lines[8].endswith("tokens 1k")


def test_names_stand_where_the_curves_end_and_never_on_one_row():
    lines = drawn(FALLING, FLAT, Curve("also flat", "green", [(0, 3.0), (1000, 3.001)]))
    rows = {
        name: row for row, line in enumerate(lines) for name in ("a falling", "b flat", "c also flat") if name in line
    }
    assert rows["a falling"] == 7
    assert len(set(rows.values())) == 3


def test_braille_has_eight_dots_in_a_character():
    (line,) = drawn(Curve("x", "red", [(0, 1.0), (1, 1.0)]), height=1, braille=True)[:1]
    field = line.partition("│")[2].rpartition(" x")[0]
    assert set(field[:10]) == {"⠉"}
    upright = drawn(Curve("x", "red", [(0, 1.0), (0, 0.0)]), height=2, braille=True)
    assert [line.partition("│")[2][0] for line in upright[:2]] == ["⡇", "⡇"]


def test_letters_are_ascii():
    assert "\n".join(drawn(FALLING, FLAT)).isascii()


def test_long_names_are_cut_in_the_middle():
    lines = drawn(Curve("a-very-long-name-of-a-run-lr=0.001", "red", [(0, 1.0), (1, 2.0)]))
    assert any(line.endswith("a a-very-...r=0.001") or "..." in line for line in lines)
    assert max(map(len, lines)) <= 60


def test_nothing_is_drawn_of_nothing():
    assert plot([Curve("x", "red", [])], width=60, height=8, across="tokens", braille=True) == []
