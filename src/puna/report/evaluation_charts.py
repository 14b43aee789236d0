"""Benchmarks over the tokens of a run, a small chart for each task, as in LLaMA's figure 2.

A line joins results of the same documents; around it lies the 95 % interval. Two lines of one chart are two
measurements: a few documents while training, and those of saved steps that were evaluated afterwards.
"""

import html
from collections.abc import Callable, Sequence
from typing import Any

from puna.core.schema.evaluation import GOLD, Metric
from puna.report.axes import tokens_axis
from puna.report.curves import COLOURS, NEUTRAL, Chart, Style, axis_title, chart_of, curve
from puna.report.evaluated import Benchmark, Point, Series
from puna.report.names import shortened

_DURING, _AFTERWARDS = COLOURS[0], COLOURS[1:]
_BAND_OPACITY = "33"
"""Of an interval, the last two digits of its colour: a fifth, so that lines and grid are seen through it."""


def evaluation_charts(benchmarks: Sequence[Benchmark], end: int, *, across: str = "tokens trained on") -> list[Chart]:
    """A chart for each task, and one of the surprise at right answers.

    Args:
        benchmarks: The tasks.
        end: Tokens at which the axes end.
        across: What they count.
    """
    found = [_of_task(benchmark, end) for benchmark in benchmarks]
    if (surprise := _surprise(benchmarks)) is not None:
        found.append(surprise)
    for chart in found:
        chart.figure["layout"]["xaxis"] |= tokens_axis(end) | {"title": axis_title(across)}
    return found


def _of_task(benchmark: Benchmark, end: int) -> Chart:
    last = benchmark.newest.result
    traces: list[dict[str, Any]] = []
    afterwards = 0
    for series in benchmark.series:
        colour = _DURING if series.during else _AFTERWARDS[afterwards % len(_AFTERWARDS)]
        afterwards += not series.during
        traces += _curves(series, colour, lambda point: point.main)
    sentence = f"{last.main[0]}, with its 95 % interval."
    if last.chance is not None:
        dotted = curve("chance", [], [], Style(NEUTRAL, "dot"))
        traces.append(dotted | {"x": [0, end], "y": [last.chance] * 2})
        sentence += " Dotted: what guessing scores."
    shots = f", {last.shots}-shot" if last.shots else ""
    return chart_of(f"{last.title} ({last.protocol}{shots})", sentence, traces, last.main[0])


def _surprise(benchmarks: Sequence[Benchmark]) -> Chart | None:
    """Bits per byte of the right answers, a line for each task; None where none was measured."""
    traces = []
    for number, benchmark in enumerate(benchmarks):
        for series in benchmark.series:
            known = Series(during=series.during, points=[one for one in series.points if GOLD in one.result.metrics])
            if known.points:
                name = shortened(known.points[-1].result.id)
                points = known.points
                values = [point.result.metrics[GOLD].value for point in points]
                traces.append(curve(name, points, values, COLOURS[number % len(COLOURS)]) | {"mode": "lines+markers"})
    if not traces:
        return None
    sentence = (
        "Mean over the documents, lower is better: it falls smoothly where a small model still guesses. A click on a "
        "name hides its curve."
    )
    return chart_of("Surprise at right answers", sentence, traces, "bits per byte")


def _curves(series: Series, colour: str, metric: Callable[[Point], Metric]) -> list[dict[str, Any]]:
    """The line of a series and the band of its intervals."""
    name = f"{'while training' if series.during else 'saved steps'}, {series.documents}"
    figures = [metric(point) for point in series.points]
    group = {"legendgroup": html.escape(name)}
    quiet = group | {"showlegend": False, "hoverinfo": "skip", "mode": "lines", "line": {"width": 0}}
    low, high = (
        curve(f"{name}, {word} end of the interval", series.points, values, colour) | quiet
        for word, values in (("lower", [one.low for one in figures]), ("upper", [one.high for one in figures]))
    )
    symbol = "circle" if series.during else "diamond"
    line = curve(name, series.points, [one.value for one in figures], colour) | group
    marked = {"mode": "lines+markers", "marker": {"symbol": symbol, "size": 6 if series.during else 9}}
    return [low, high | {"fill": "tonexty", "fillcolor": colour + _BAND_OPACITY}, line | marked]
