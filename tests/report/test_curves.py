from dataclasses import dataclass

from puna.report.curves import Style, chart_of, curve, only_in_legend, thinned


@dataclass(frozen=True)
class At:
    tokens: int


def test_points_are_thinned_evenly_from_the_end_and_few_stay() -> None:
    points = thinned(list(range(12_345)), 1000)
    assert points == list(range(7, 12_345, 13))
    assert thinned([1, 2, 3], 3) == [1, 2, 3]


def test_a_curve_is_over_tokens_and_its_name_is_not_markup() -> None:
    drawn = curve("<b>prose</b>", [At(256), At(512)], [3.0, None], Style("#123456", "dash"))
    assert (drawn["x"], drawn["y"], drawn["mode"]) == ([256, 512], [3.0, None], "lines")
    assert drawn["name"] == "&lt;b&gt;prose&lt;/b&gt;"
    assert drawn["line"] == {"color": "#123456", "width": 1.5, "dash": "dash"}
    assert curve("one", [At(256)], [3.0], "#123456")["mode"] == "lines+markers"


def test_a_chart_says_in_words_where_its_curves_begin_and_end() -> None:
    curves = [curve("a & b", [At(1), At(2), At(3)], [None, 3.0, 2.5], "#123456"), only_in_legend("frequencies")]
    chart = chart_of("Bits", "Lower is better.", curves, "bits per byte")
    assert chart.summary == "a & b from 3 to 2.5"
    assert chart.figure["layout"]["yaxis"]["title"]["text"] == "bits per byte"
    assert chart.figure["layout"]["xaxis"]["title"]["text"] == "tokens trained on"


def test_a_legend_of_several_rows_makes_a_chart_higher() -> None:
    few, many = ([curve(f"a source of a long name {number}", [], [], "#123456") for number in range(n)] for n in (1, 6))
    heights = [chart_of("t", "s", curves, "u").figure["layout"]["height"] for curves in (few, many)]
    assert heights[0] == 330 < heights[1]
