"""The curves of several runs on common axes, as plotly figures: plain data, drawn by the page.

Every curve has its places on three axes, between which the page switches: tokens, time in optimizer steps, and the
energy of these. A run has the same colour and dashes in every chart.
"""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from puna.core.schema.evaluation import TaskResult
from puna.core.schema.lines import EvaluationLine, Line, PreferenceLine, TrainLine, ValidationLine
from puna.core.units import counted
from puna.report.charts import smooth
from puna.report.comparison import ComparedRun, Comparison, Difference
from puna.report.curves import line_mode, thinned
from puna.report.evaluated import comparable
from puna.report.preference_charts import over_all
from puna.report.wording import MIXED, PRE_TRAINING

_Curve: TypeAlias = tuple[int, Sequence[Line], Sequence[float | None], dict[str, Any]]
"""The number of a run, the lines of its metrics with the tokens of the points, the values, and how it is drawn."""

COLOURS = ["#3a87ad", "#c96a2b", "#5a9640", "#a86abf", "#d0505f", "#92812f", "#6a7fd0", "#2f8f86"]
"""Middle tones with a contrast of at least 3 : 1 on light and dark paper (WCAG 2.2, success criterion 1.4.11)."""
DASHES = ["solid", "dash", "dot", "dashdot"]
"""Of the lines of the first eight runs, of the next eight, and so on."""
TOKENS, TIME, ENERGY = "tokens", "time", "energy"

_SMOOTHED_SHARE = 50
"""A smoothed point is the mean over its neighbours within this part of the run on each side."""
_MOST_POINTS = 1000
"""Points of a curve at most."""


@dataclass(frozen=True)
class Axis:
    """What the horizontal axis counts."""

    name: str
    """`tokens`, `time` or `energy`."""
    label: str
    """What the switch of axes calls it."""
    title: str
    """What stands below the axis, with its unit."""
    place: Callable[[ComparedRun, int], float | None]
    """Where a run is when it has learned from this number of tokens."""


@dataclass(frozen=True)
class ComparedChart:
    """A figure with its description, and the places of its curves on every axis."""

    title: str
    sentence: str
    summary: str
    """The last value of each curve, for readers who cannot see it."""
    figure: dict[str, Any]
    """plotly's data and layout, on the first axis."""
    places: dict[str, list[list[float | None]]]
    """By the name of an axis, the places of the points of each curve; empty where the chart has an axis of its own."""
    runs: list[int]
    """The number of the run of each curve."""

    @property
    def drawn(self) -> dict[str, Any]:
        """What the page's script needs."""
        return {"figure": self.figure, "places": self.places, "runs": self.runs}


def colour(number: int) -> str:
    """The colour of the run with this number."""
    return COLOURS[number % len(COLOURS)]


def dash(number: int) -> str:
    """The dashes of the lines of the run with this number."""
    return DASHES[number // len(COLOURS) % len(DASHES)]


def axes(comparison: Comparison) -> list[Axis]:
    """The axes that at least one run has places on."""
    found = [Axis(TOKENS, "tokens", comparison.words.across, lambda run, tokens: float(tokens))]
    seconds = [run.seconds for run in comparison.runs if run.seconds is not None]
    if seconds:
        unit, scale = _unit(max(seconds), [("s", 1.0), ("min", 60.0), ("h", 3600.0), ("d", 86400.0)])
        found.append(
            Axis(TIME, "time", f"time in optimizer steps, {unit}", lambda run, at: _over(run.seconds_at(at), scale))
        )
    energies = [run.kwh for run in comparison.runs if run.kwh is not None]
    if energies:
        unit_e, scale_e = _unit(max(energies), [("Wh", 1e-3), ("kWh", 1.0), ("MWh", 1e3)])
        title = f"energy of optimizer steps, estimated, {unit_e}"
        found.append(Axis(ENERGY, "energy", title, lambda run, at: _over(_kwh_at(run, at), scale_e)))
    return found


def charts(comparison: Comparison) -> list[ComparedChart]:
    """The charts that the runs have data for."""
    runs, found = comparison.runs, []
    sources = comparison.sources
    if any(comparison.mean(line) is not None for run in runs for line in run.validations):
        title = "Held-out bits per byte" + (f", {sources[0]}" if len(sources) == 1 else ", mean of the sources")
        found.append(_heldout(comparison, title, comparison.mean))
    dial = _dial(comparison)
    if dial is not None:
        found.append(_against(comparison, dial))
    if comparison.with_pairs:
        found += _pairs(comparison)
    words = comparison.words
    if comparison.same_tokenizer and words is not MIXED and any(run.train for run in runs):
        found.append(_trained(comparison, words.loss, words.unit, lambda line: line.loss, smoothed=True))
    if len(sources) > 1:
        for source in sources:
            title = f"Held-out bits per byte, {source}"
            found.append(_heldout(comparison, title, lambda line, name=source: line.bits_per_byte.get(name)))
    found += _benchmarks(comparison)
    if any(run.train for run in runs):
        rate = _trained(comparison, "Learning rate", "learning rate", lambda line: line.lr)
        rate.figure["layout"]["yaxis"] |= {"exponentformat": "e", "rangemode": "tozero"}
        speed = _trained(comparison, "Throughput", words.rate, lambda line: line.tokens_per_second)
        speed.figure["layout"]["yaxis"] |= {"rangemode": "tozero", "hoverformat": ".4~s"}
        found += [rate, speed]
    return found


def _heldout(comparison: Comparison, title: str, value: Callable[[ValidationLine], float | None]) -> ComparedChart:
    """Validations while training as a line, the one on all held-out text as a diamond."""
    curves: list[_Curve] = []
    for number, run in enumerate(comparison.runs):
        final = [line for line in run.validations if line.final]
        curves.append((number, run.during, [value(line) for line in run.during], {"mode": "lines+markers"}))
        diamond = {"mode": "markers", "marker": _diamond(number)}
        curves.append((number, final, [value(line) for line in final], diamond))
    sentence = f"Lower is better. Lines: a part of {_the(comparison)}, while training"
    sentence += "; diamonds: all of it, at the end." if any(run.finished for run in comparison.runs) else "."
    return _chart(comparison, title, sentence, "bits per byte", curves)


def _the(comparison: Comparison) -> str:
    words = comparison.words
    return {PRE_TRAINING.heldout: "the text", MIXED.heldout: MIXED.heldout}.get(words.heldout, f"the {words.heldout}")


def _pairs(comparison: Comparison) -> list[ComparedChart]:
    """How many held-out pairs are told apart as preferred, and by how much their rewards differ."""

    def of(title: str, sentence: str, unit: str, value: Callable[[PreferenceLine], float]) -> ComparedChart:
        curves: list[_Curve] = [
            (number, run.preferences, [value(line) for line in run.preferences], {"mode": "lines+markers"})
            for number, run in enumerate(comparison.runs)
        ]
        return _chart(comparison, title, sentence, unit, curves)

    return [
        of(
            "Held-out pairs told apart", "Share whose preferred answer has the higher reward. 50 % is chance.", "%",
            lambda line: 100 * over_all(line).accuracy,
        ),
        of(
            "Margins of held-out pairs", "By how much the rewards of the two answers differ, mean over all pairs.",
            "reward, nats", lambda line: over_all(line).margin,
        ),
    ]  # fmt: skip


def _benchmarks(comparison: Comparison) -> list[ComparedChart]:
    """A chart for each task that two runs or more were asked in the same way on the same documents."""
    asked: dict[tuple[object, ...], dict[int, list[EvaluationLine]]] = {}
    results: dict[tuple[object, ...], TaskResult] = {}
    for number, run in enumerate(comparison.runs):
        for line in run.evaluations:
            for result in line.tasks:
                key = (result.id, *comparable(result))
                results[key] = result
                asked.setdefault(key, {}).setdefault(number, []).append(line)
    found = []
    for key, by_run in asked.items():
        if len(by_run) > 1:
            last = results[key]
            metric, documents = last.main[0], counted(last.n, "document")
            curves: list[_Curve] = [
                (number, lines, [_main(line, last.id) for line in lines], {"mode": "lines+markers"})
                for number, lines in by_run.items()
            ]
            sentence = f"While training, on the same {documents} each time."
            found.append(_chart(comparison, f"{last.title}, {last.id}", sentence, metric, curves))
    return found


def _main(line: EvaluationLine, id: str) -> float | None:
    return next(result.main[1].value for result in line.tasks if result.id == id)


def _trained(
    comparison: Comparison, title: str, unit: str, value: Callable[[TrainLine], float], smoothed: bool = False
) -> ComparedChart:
    """A figure of the logged steps."""
    curves: list[_Curve] = []
    longest = max(len(run.train) for run in comparison.runs)
    for number, run in enumerate(comparison.runs):
        values = [value(line) for line in run.train]
        if smoothed:
            values = smooth(values, len(values) // _SMOOTHED_SHARE)
        points = thinned(list(zip(run.train, values, strict=True)), _MOST_POINTS)
        curves.append(
            (number, [line for line, _ in points], [value for _, value in points], {"mode": line_mode(points)})
        )
    is_mean = smoothed and longest >= _SMOOTHED_SHARE
    return _chart(
        comparison, title, "Means of neighbouring logged steps." if is_mean else "Each logged step.", unit, curves
    )


def _dial(comparison: Comparison) -> Difference | None:
    """The one key in which the recipes differ, where three runs or more can be ranked and each has another number."""
    if len(comparison.differences) != 1:
        return None
    (difference,) = comparison.differences
    values = [difference.values[number] for number in comparison.ranked()]
    numbers = {value for value in values if isinstance(value, int | float) and not isinstance(value, bool)}
    return difference if len(numbers) >= 3 and len(numbers) == len(values) else None


def _against(comparison: Comparison, difference: Difference) -> ComparedChart:
    """The held-out figure of the runs that can be ranked against the one value that differs."""
    ranked = comparison.ranked()
    values = [float(difference.values[number] or 0) for number in range(len(comparison.runs))]
    order = sorted(ranked, key=lambda index: values[index])
    figures, places = [ranked[index] for index in order], [values[index] for index in order]
    line = {
        "name": "all runs", "x": places, "y": figures, "mode": "lines", "hoverinfo": "skip",
        "line": {"color": "#8a8f94", "width": 1.5},
    }  # fmt: skip
    points = [
        {
            "name": html.escape(comparison.runs[index].name), "x": [place], "y": [figure], "mode": "markers",
            "marker": _diamond(index),
        }
        for index, place, figure in zip(order, places, figures, strict=True)
    ]  # fmt: skip
    layout = _layout(difference.key, "bits per byte") | {"hovermode": "closest"}
    layout["xaxis"].pop("rangemode")
    if places[0] > 0 and places[-1] >= 4 * places[0]:
        layout["xaxis"] |= {"type": "log", "tickvals": places, "ticktext": [f"{place:g}" for place in places]}
    ranked_are = "of each finished run" if comparison.runs[order[0]].finished else "of each run so far"
    return ComparedChart(
        title=f"Held-out bits per byte by {difference.key}",
        sentence=f"The newest figure {ranked_are}. Lower is better.",
        summary="; ".join(f"{place:g}: {figure:.4g}" for place, figure in zip(places, figures, strict=True)),
        figure={"data": [line, *points], "layout": layout},
        places={},
        runs=[-1, *order],
    )


def _chart(
    comparison: Comparison,
    title: str,
    sentence: str,
    unit: str,
    curves: Sequence[_Curve],
) -> ComparedChart:
    known = axes(comparison)
    traces, runs, summary = [], [], []
    places: dict[str, list[list[float | None]]] = {axis.name: [] for axis in known}
    for number, lines, values, drawn in curves:
        run = comparison.runs[number]
        if not any(value is not None for value in values):
            continue
        for axis in known:
            places[axis.name].append([axis.place(run, line.tokens) for line in lines])
        style = {"color": colour(number), "width": 2, "dash": dash(number)}
        traces.append({"name": html.escape(run.name), "x": places[TOKENS][-1], "y": values, "line": style} | drawn)
        runs.append(number)
        last = [value for value in values if value is not None][-1]
        summary.append(f"{run.name} ends at {last:.4g}")
    figure = {"data": traces, "layout": _layout(known[0].title, unit)}
    return ComparedChart(title, sentence, "; ".join(summary), figure, places, runs)


def _diamond(number: int) -> dict[str, Any]:
    """The mark of a run's figure on all held-out text; open where its lines are dashed."""
    symbol = "diamond" if dash(number) == DASHES[0] else "diamond-open"
    return {"symbol": symbol, "size": 11, "color": colour(number)}


def _layout(across: str, unit: str) -> dict[str, Any]:
    axis = {"automargin": True, "zeroline": False}
    return {
        "height": 330,
        "margin": {"l": 10, "r": 10, "t": 10, "b": 10},
        "xaxis": {"title": {"text": html.escape(across), "standoff": 8}, "rangemode": "tozero"} | axis,
        "yaxis": {"title": {"text": html.escape(unit), "standoff": 8}, "hoverformat": ".4~g"} | axis,
        "showlegend": False,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hovermode": "x unified",
        "font": {"family": "system-ui, sans-serif", "size": 12},
    }


def _unit(largest: float, units: list[tuple[str, float]]) -> tuple[str, float]:
    """The largest unit of which there are two or more, else the smallest."""
    return next((unit for unit in reversed(units) if largest >= 2 * unit[1]), units[0])


def _over(value: float | None, scale: float) -> float | None:
    return None if value is None else value / scale


def _kwh_at(run: ComparedRun, tokens: int) -> float | None:
    seconds = run.seconds_at(tokens)
    return None if run.power is None or seconds is None else run.power.kwh(seconds)
