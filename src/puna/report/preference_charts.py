"""The curves of a run that learns from pairs of answers: how many are told apart as preferred, and by how much."""

import html
from collections.abc import Mapping
from typing import Any

from puna.core.schema.lines import PreferenceFigures, PreferenceLine
from puna.report.curves import COLOURS, NEUTRAL, Chart, Style, chart_of, curve, only_in_legend, thinned
from puna.report.names import shortened


def preference_charts(lines: list[PreferenceLine], styles: Mapping[str, Style]) -> list[Chart]:
    """The share of the pairs that are told apart, by source, and the rewards of both kinds of answers.

    Args:
        lines: Of the run, in order; none make no chart.
        styles: How the sources look in the other charts.
    """
    if not lines:
        return []
    train = thinned([line for line in lines if line.split == "train"])
    heldout = [line for line in lines if line.split == "heldout"]
    return [_accuracy(train, heldout, styles), _rewards(train, heldout)]


def over_all(line: PreferenceLine) -> PreferenceFigures:
    """The means over the pairs of all sources."""
    found = [figures.model_dump() for figures in line.sources.values()]
    pairs = sum(figures["pairs"] for figures in found)
    means = {
        name: sum(figures[name] * figures["pairs"] for figures in found) / pairs
        for name in PreferenceFigures.model_fields
        if name != "pairs"
    }
    return PreferenceFigures(pairs=pairs, **means)


def _accuracy(train: list[PreferenceLine], heldout: list[PreferenceLine], styles: Mapping[str, Style]) -> Chart:
    traces: list[dict[str, Any]] = []
    for number, source in enumerate(dict.fromkeys(source for line in [*heldout, *train] for source in line.sources)):
        style = styles.get(source, Style(COLOURS[number % len(COLOURS)]))
        group = {"legendgroup": html.escape(source)}
        for lines, mark in ((train, {}), (heldout, _diamonds(style.colour) | {"showlegend": not train})):
            has = [line for line in lines if source in line.sources]
            shares = [100 * line.sources[source].accuracy for line in has]
            if has:
                traces.append(curve(shortened(source), has, shares, style) | group | mark)
    sentence = "Share of the pairs whose preferred answer has the higher reward, between two logged steps"
    if heldout:
        traces.append(only_in_legend("held-out pairs") | _diamonds(NEUTRAL))
        sentence += "; diamonds: of held-out pairs"
    return chart_of("Pairs told apart", f"{sentence}. 50 % is chance.", traces, "%")


def _rewards(train: list[PreferenceLine], heldout: list[PreferenceLine]) -> Chart:
    traces: list[dict[str, Any]] = []
    for name, colour in (("chosen", COLOURS[2]), ("rejected", COLOURS[4])):
        label = {"chosen": "preferred answers", "rejected": "the others"}[name]
        for lines, mark in ((train, {}), (heldout, _diamonds(colour) | {"showlegend": not train})):
            rewards = [getattr(over_all(line), f"{name}_reward") for line in lines]
            if lines:
                traces.append(curve(label, lines, rewards, colour) | {"legendgroup": name} | mark)
    sentence = (
        "Mean over all pairs of beta times how much likelier an answer is than under the model that the run began "
        "with; diamonds: of held-out pairs."
    )
    return chart_of("Rewards", sentence, traces, "nats")


def _diamonds(colour: str) -> dict[str, Any]:
    return {"mode": "markers", "marker": {"symbol": "diamond", "size": 9, "color": colour}}
