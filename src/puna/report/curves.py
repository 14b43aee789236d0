"""Curves and the charts around them as plotly figures: plain data, drawn by the page.

Text and grid take their colours from the page's style sheet, so they follow it in dark mode and on paper. The colours
of the curves are the same everywhere: middle tones with a contrast of at least 3 : 1 on both backgrounds (WCAG 2.2,
success criterion 1.4.11).
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from puna.report.axes import values_axis

Point = TypeVar("Point")

COLOURS = ["#3a87ad", "#c96a2b", "#5a9640", "#a86abf", "#d0505f", "#92812f", "#6a7fd0"]
"""Colours, one per source in the order of the recipe; lines also differ by their labels."""
NEUTRAL = "#7b848d"
"""The colour of a mark in a legend that stands for all sources."""

_LEGEND_PX = 340
"""Width of a legend's row on a phone; more rows make the chart higher, so that its curves keep their room."""

_APART = {"ticks": "outside", "ticklen": 6, "tickcolor": "rgba(0,0,0,0)"}
"""Keeps the first label of an axis off the other axis's."""

_MOST_POINTS = 2000
"""Points of a curve without spikes, at most; with this many, a browser draws seven sources of a long run fast."""


class Trained(Protocol):
    """What was found at some point of a run, such as a line of its metrics."""

    @property
    def tokens(self) -> int:
        """Tokens of the steps done."""
        ...


@dataclass(frozen=True)
class Chart:
    """A figure with its description."""

    title: str
    sentence: str
    """A sentence on what the curves show."""
    summary: str
    """The first and last value of each curve, for readers who cannot see it."""
    figure: dict[str, Any]
    """plotly's data and layout."""


@dataclass(frozen=True)
class Style:
    """How the curves of a source look."""

    colour: str
    dash: str = "solid"


def thinned(points: list[Point], most: int = _MOST_POINTS) -> list[Point]:
    """Evenly chosen points if there are more than `most`, and always the last."""
    step = -(-len(points) // most)
    return points if step <= 1 else points[-1::-step][::-1]


def curve(
    name: str,
    places: Sequence[Trained],
    values: Sequence[float | None],
    style: Style | str,
    *,
    width: float = 1.5,
) -> dict[str, Any]:
    """A curve over the tokens trained on; a style that is a text is a colour.

    Plotly reads tags in names, so the name is escaped.
    """
    tokens = [place.tokens for place in places]
    style = Style(style) if isinstance(style, str) else style
    line = {"color": style.colour, "width": width} | ({"dash": style.dash} if style.dash != "solid" else {})
    return {"name": html.escape(name), "x": tokens, "y": values, "mode": line_mode(tokens), "line": line}


def line_mode(points: Sequence[Any]) -> str:
    """How plotly draws a curve: a line, and where it has one point, which no line would show, a mark."""
    return "lines+markers" if len(points) == 1 else "lines"


def chart_of(title: str, sentence: str, traces: list[dict[str, Any]], unit: str, *, from_zero: bool = False) -> Chart:
    """A chart of these traces over the tokens trained on.

    Args:
        title: What it shows, in a few words.
        sentence: On what the curves show.
        traces: As `curve` makes them.
        unit: Of the values.
        from_zero: Whether the axis of the values begins at 0.
    """
    axis = {"automargin": True, "zeroline": False}
    values = [value for trace in traces for value in trace["y"]]
    layout = {
        "height": _height(traces),
        "margin": {"l": 10, "r": 10, "t": 10, "b": 10},
        "xaxis": {"title": axis_title("tokens trained on"), "rangemode": "tozero"} | _APART | axis,
        "yaxis": {"title": axis_title(unit), "hoverformat": ".4~g"} | values_axis(values, from_zero=from_zero) | axis,
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hovermode": "x unified",
        "font": {"family": "system-ui, sans-serif", "size": 12},
    }
    summary = "; ".join(filter(None, map(_ends, traces)))
    return Chart(title, sentence, summary, {"data": traces, "layout": layout})


def _height(traces: list[dict[str, Any]]) -> int:
    """In pixels; a legend of several rows has its own room."""
    named = [trace["name"] for trace in traces if trace.get("showlegend", True)]
    rows = -(-sum(45 + 7 * len(html.unescape(name)) for name in named) // _LEGEND_PX)
    return 330 + 19 * max(0, rows - 1)


def axis_title(text: str) -> dict[str, Any]:
    """What plotly takes as the title of an axis."""
    return {"text": text, "standoff": 8}


def _ends(trace: dict[str, Any]) -> str:
    values = [value for value in trace["y"] if value is not None]
    if not values:
        return ""
    if "text" in trace:
        return f"{html.unescape(trace['name'])}: {len(values)}"
    first, last = f"{values[0]:.4g}", f"{values[-1]:.4g}"
    return html.unescape(trace["name"]) + (f" {last}" if first == last else f" from {first} to {last}")


def only_in_legend(name: str) -> dict[str, Any]:
    """An entry of the legend that names a kind of mark, dotted unless told otherwise; a click on it does nothing."""
    return curve(name, [], [], Style(NEUTRAL, "dot")) | {"x": [None], "y": [None], "hoverinfo": "skip"}
