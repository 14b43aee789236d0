"""The curves of a report as plotly figures: plain data, drawn by the page.

Text and grid take their colours from the page's style sheet, so they follow it in the dark and on paper. The colours of
the curves are the same everywhere: middle tones with a contrast of at least 3 : 1 on both backgrounds (WCAG 2.2,
success criterion 1.4.11).
"""

import html
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from puna.report.read import RunRecords
from puna.report.schema import TrainLine, ValidationLine

COLOURS = ["#3a87ad", "#c96a2b", "#5a9640", "#a86abf", "#d0505f", "#92812f", "#6a7fd0"]
"""One per source, in the order of the recipe; lines also differ by their labels."""

_SMOOTHED_SHARE = 50
"""A smoothed point is the mean over the neighbours within this part of the run to each side."""


@dataclass(frozen=True)
class Chart:
    """A figure with what is said about it."""

    title: str
    sentence: str
    """What the curves are."""
    summary: str
    """Where each curve begins and ends, for those who cannot see it."""
    figure: dict[str, Any]
    """plotly's data and layout."""


def charts(run: RunRecords) -> list[Chart]:
    """The charts that the run has data for."""
    found = []
    if run.validations:
        found.append(_bits_per_byte(run))
    if run.train:
        found += [_loss(run), _learning_rate(run), _throughput(run)]
    return found


def smooth(values: list[float], radius: int) -> list[float]:
    """Each value's mean with its neighbours, up to `radius` to each side and equally many on both: it does not lag."""
    sums = [0.0, *accumulate(values)]
    reach = [min(radius, index, len(values) - 1 - index) for index in range(len(values))]
    return [(sums[index + r + 1] - sums[index - r]) / (2 * r + 1) for index, r in enumerate(reach)]


def _bits_per_byte(run: RunRecords) -> Chart:
    # A part of the held-out text while training, all of it at the end: two measurements, drawn apart.
    during = [line for line in run.validations if not line.final]
    final = [line for line in run.validations if line.final]
    end = run.validations[-1]
    unigrams = {source.name: source.unigram_bits_per_byte for source in run.card.sources} if run.card else {}
    traces = []
    for index, source in enumerate(end.bits_per_byte):
        colour = COLOURS[index % len(COLOURS)]
        part = _line(source, during, [line.bits_per_byte.get(source) for line in during], colour)
        traces.append(part | {"mode": "lines+markers"})
        whole = _line(f"{source}, all of it", final, [line.bits_per_byte.get(source) for line in final], colour)
        marker = {"symbol": "diamond", "size": 11, "color": colour}
        traces.append(whole | {"mode": "markers", "marker": marker, "showlegend": False})
        if unigrams.get(source) is not None:
            dotted = _line(f"{source}, token frequencies", [], [], colour)
            dotted |= {"x": [0, end.tokens], "y": [unigrams[source]] * 2, "showlegend": False}
            traces.append(dotted | {"line": {"color": colour, "width": 1.5, "dash": "dot"}})
    return _chart(
        "Held-out bits per byte",
        "Lower is better. Lines: a part of the text, while training; diamonds: all of it; dotted: what token "
        "frequencies alone reach.",
        traces,
        "bits per byte",
    )


def _loss(run: RunRecords) -> Chart:
    losses = [line.loss for line in run.train]
    raw = _line("each logged step", run.train, losses, COLOURS[0])
    radius = len(losses) // _SMOOTHED_SHARE
    traces = [raw]
    if radius:
        raw |= {"opacity": 0.6, "line": {"color": COLOURS[0], "width": 1}}
        label = f"mean of {2 * radius + 1} logged steps"
        traces.append(_line(label, run.train, smooth(losses, radius), COLOURS[0], width=2.5))
    return _chart("Training loss", "Mean over the batch of each logged step.", traces, "nats per token")


def _learning_rate(run: RunRecords) -> Chart:
    rate = _line("learning rate", run.train, [line.lr for line in run.train], COLOURS[0])
    norm = _line("gradient norm", run.train, [line.grad_norm for line in run.train], COLOURS[1])
    traces = [rate, norm | {"yaxis": "y2"}]
    chart = _chart("Learning rate and gradient norm", "The norm is taken before clipping.", traces, "learning rate")
    layout = chart.figure["layout"]
    layout["yaxis2"] = layout["yaxis"] | {"title": _title("gradient norm"), "domain": [0, 0.44]}
    layout["yaxis"] |= {"domain": [0.56, 1], "exponentformat": "e"}
    for axis in ("yaxis", "yaxis2"):
        layout[axis] |= {"rangemode": "tozero", "nticks": 4}
    layout["xaxis"]["anchor"] = "y2"
    layout["showlegend"] = False
    return chart


def _throughput(run: RunRecords) -> Chart:
    rates = [line.tokens_per_second for line in run.train]
    trace = _line("median between two log lines", run.train, rates, COLOURS[2])
    chart = _chart("Throughput", "Optimizer steps alone, without validation.", [trace], "tokens per second")
    chart.figure["layout"]["yaxis"] |= {"rangemode": "tozero", "hoverformat": ".4~s"}
    return chart


def _line(
    name: str, lines: list[TrainLine] | list[ValidationLine], values: list[Any], colour: str, width: float = 1.5
) -> dict[str, Any]:
    """A curve over the tokens trained on; plotly reads tags in names, so the name is escaped."""
    tokens = [line.tokens for line in lines]
    line = {"color": colour, "width": width}
    return {"name": html.escape(name), "x": tokens, "y": values, "mode": "lines", "line": line}


def _chart(title: str, sentence: str, traces: list[dict[str, Any]], unit: str) -> Chart:
    axis = {"automargin": True, "zeroline": False}
    layout = {
        "height": 330,
        "margin": {"l": 10, "r": 10, "t": 10, "b": 10},
        "xaxis": {"title": _title("tokens trained on"), "rangemode": "tozero"} | axis,
        "yaxis": {"title": _title(unit), "hoverformat": ".4~g"} | axis,
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hovermode": "x unified",
        "font": {"family": "system-ui, sans-serif", "size": 12},
    }
    summary = "; ".join(filter(None, map(_ends, traces)))
    return Chart(title, sentence, summary, {"data": traces, "layout": layout})


def _title(text: str) -> dict[str, Any]:
    return {"text": text, "standoff": 8}


def _ends(trace: dict[str, Any]) -> str:
    values = [value for value in trace["y"] if value is not None]
    if not values:
        return ""
    first, last = f"{values[0]:.4g}", f"{values[-1]:.4g}"
    return html.unescape(trace["name"]) + (f" {last}" if first == last else f" from {first} to {last}")
