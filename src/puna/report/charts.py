"""The curves of a report, chart by chart."""

import html
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from puna.core.schema.lines import RollbackLine, SkippedLine
from puna.report.axes import tokens_axis, values_axis
from puna.report.curves import COLOURS, NEUTRAL, Chart, Style, axis_title, chart_of, curve, only_in_legend, thinned
from puna.report.heldout_charts import heldout_charts
from puna.report.names import shortened
from puna.report.preference_charts import preference_charts
from puna.report.read import RunRecords
from puna.report.wording import Wording, wording

_DASHES = ["solid", "dash", "dashdot"]
"""The lines of the first sources, of as many as there are colours, are solid, the next ones dashed."""

_SMOOTHED_SHARE = 50
"""A smoothed point is the mean over its neighbours within this part of the run on each side."""


def charts(run: RunRecords) -> list[Chart]:
    """The charts that the run has data for."""
    found = []
    words = wording(run.config)
    if run.config.finetune is not None:
        found += heldout_charts(run.validations, _styles(run), words)
    elif any(line.bits_per_byte for line in run.validations):
        found.append(_bits_per_byte(run))
    found += preference_charts(run.preferences, _styles(run))
    if run.train:
        found.append(_loss(run, words))
        if any(line.source_loss for line in run.train):
            found.append(_loss_by_source(run, words))
        found += [_learning_rate(run), _throughput(run, words)]
        if any(line.mfu or line.data_wait is not None for line in run.train):
            found.append(_device(run))
        if any(line.source_tokens for line in run.train):
            found.append(_mixture(run))
    end = max((line.tokens for line in [*run.train, *run.validations, *run.preferences]), default=0)
    for chart in found:
        chart.figure["layout"]["xaxis"] |= tokens_axis(end) | {"title": axis_title(words.across)}
    return found


def smooth(values: list[float], radius: int) -> list[float]:
    """Each value's mean with its neighbours, up to `radius` and equally many on each side, so it does not lag."""
    sums = [0.0, *accumulate(values)]
    reach = [min(radius, index, len(values) - 1 - index) for index in range(len(values))]
    return [(sums[index + r + 1] - sums[index - r]) / (2 * r + 1) for index, r in enumerate(reach)]


def _bits_per_byte(run: RunRecords) -> Chart:
    # A part of the held-out text during training, all of it at the end: two measurements, drawn separately.
    during = [line for line in run.validations if not line.final]
    final = [line for line in run.validations if line.final]
    end = run.validations[-1]
    unigrams = run.card.unigrams if run.card else {}
    traces, styles = [], _styles(run)
    for source in end.bits_per_byte:
        group = {"legendgroup": html.escape(source)}
        colour = styles[source].colour
        part = curve(
            shortened(source),
            during,
            [line.bits_per_byte.get(source) for line in during],
            styles[source],
        )
        traces.append(part | group | {"mode": "lines+markers"})
        whole = curve(
            f"{shortened(source)}, all of it", final, [line.bits_per_byte.get(source) for line in final], colour
        )
        traces.append(whole | group | _diamond(colour) | {"showlegend": False})
        if unigrams.get(source) is not None:
            dotted = curve(f"{shortened(source)}, token frequencies", [], [], Style(colour, "dot"))
            dotted |= {"x": [0, end.tokens], "y": [unigrams[source]] * 2, "showlegend": False}
            traces.append(dotted | group)
    sentence = "Lower is better. Lines: a part of the text, while training"
    if final:
        traces.append(only_in_legend("all held-out text, at the end") | _diamond(NEUTRAL))
        sentence += "; diamonds: all of it, at the end"
    if any(trace.get("line", {}).get("dash") == "dot" for trace in traces):
        traces.append(only_in_legend("token frequencies alone"))
        sentence += "; dotted: what token frequencies alone reach"
    return chart_of("Held-out bits per byte", f"{sentence}.", traces, "bits per byte")


def _diamond(colour: str) -> dict[str, Any]:
    return {"mode": "markers", "marker": {"symbol": "diamond", "size": 11, "color": colour}}


def _loss(run: RunRecords, words: Wording) -> Chart:
    losses = [line.loss for line in run.train]
    raw = curve("each logged step", run.train, losses, COLOURS[0])
    radius = len(losses) // _SMOOTHED_SHARE
    traces = [raw]
    if radius:
        raw |= {"opacity": 0.6, "line": {"color": COLOURS[0], "width": 1}}
        label = f"mean of {2 * radius + 1} logged steps"
        traces.append(curve(label, run.train, smooth(losses, radius), COLOURS[0], width=2.5))
    sentence = "Mean over the batch of each logged step."
    if run.skipped or run.rollbacks:
        sentence += " Marks: batches that were left out, and checkpoints that the run went back to."
        traces += _marks(run)
    return chart_of(words.loss, sentence, traces, words.unit)


def _marks(run: RunRecords) -> list[dict[str, Any]]:
    """Batches left out and returns to a checkpoint, on the curve of the loss."""
    left_out = [(line, line.reason) for line in run.skipped]
    returns = [(line, f"from step {line.from_step}: {line.reason}") for line in run.rollbacks]
    tokens = [line.tokens for line in run.train]

    def mark(name: str, symbol: str, places: Sequence[tuple[SkippedLine | RollbackLine, str]]) -> dict[str, Any]:
        losses = [run.train[max(0, bisect_right(tokens, line.tokens) - 1)].loss for line, _ in places]
        trace = curve(name, [line for line, _ in places], losses, COLOURS[4])
        texts = [html.escape(text) for _, text in places]
        marker = {"symbol": symbol, "size": 11, "color": COLOURS[4]}
        return trace | {"mode": "markers", "marker": marker, "text": texts, "hovertemplate": "%{text}"}

    marks = mark("batches left out", "x", left_out), mark("returns to a checkpoint", "triangle-left", returns)
    return [trace for trace in marks if trace["x"]]


def _loss_by_source(run: RunRecords, words: Wording) -> Chart:
    traces, radius = [], len(run.train) // _SMOOTHED_SHARE
    for source, style in _styles(run).items():
        lines = [line for line in run.train if source in line.source_loss]
        losses = smooth([line.source_loss[source] for line in lines], radius)
        if lines:
            points = thinned(list(zip(lines, losses, strict=True)))
            traces.append(
                curve(
                    shortened(source),
                    [line for line, _ in points],
                    [loss for _, loss in points],
                    style,
                )
            )
    smoothed = f", over {2 * radius + 1} of them" if radius else ""
    sentence = f"Mean between two logged steps{smoothed}. A click on a name hides its curve."
    return chart_of(f"{words.loss} by source", sentence, traces, words.unit)


def _learning_rate(run: RunRecords) -> Chart:
    rate = curve("learning rate", run.train, [line.lr for line in run.train], COLOURS[0])
    norm = curve("gradient norm", run.train, [line.grad_norm for line in run.train], COLOURS[1])
    traces = [rate, norm | {"yaxis": "y2"}]
    sentence = "Above the rate, below the norm of the gradient before clipping."
    chart = chart_of("Learning rate and gradient norm", sentence, traces, "learning rate", from_zero=True)
    _split(chart, "gradient norm")
    chart.figure["layout"]["yaxis"] |= {"exponentformat": "e"}
    chart.figure["layout"]["showlegend"] = False
    return chart


def _throughput(run: RunRecords, words: Wording) -> Chart:
    lines = thinned(run.train)
    traces = [curve("optimizer steps alone", lines, [line.tokens_per_second for line in lines], COLOURS[0])]
    overall = [line.tokens_per_second_overall for line in lines]
    if any(overall):
        traces.append(curve("with all between them", lines, overall, Style(COLOURS[1], "dash")))
    sentence = (
        "Alone: mean between two logged steps. With validation, samples and checkpoints: since the session began."
    )
    chart = chart_of("Throughput", sentence, traces, words.rate, from_zero=True)
    chart.figure["layout"]["yaxis"] |= {"hoverformat": ".4~s"}
    return chart


def _device(run: RunRecords) -> Chart:
    lines = thinned(run.train)

    def percent(name: str, values: list[float | None], style: Style | str) -> dict[str, Any]:
        return curve(name, lines, [None if value is None else 100 * value for value in values], style)

    traces = [
        percent("MFU, causal attention", [line.mfu.get("causal") for line in lines], COLOURS[0]),
        percent("MFU, full attention", [line.mfu.get("full") for line in lines], Style(COLOURS[1], "dash")),
        percent("waiting for data", [line.data_wait for line in lines], COLOURS[3]),
    ]
    sentence = (
        "Share of the device's rate that the steps reach (MFU), counting the attention scores that a causal model "
        "needs or all of them, and share of their time that goes into waiting for data."
    )
    if run.config.finetune is not None:
        sentence += " MFU is counted as if sequences were whole texts and all parameters learned."
    return chart_of("Use of the device", sentence, traces, "%", from_zero=True)


def _mixture(run: RunRecords) -> Chart:
    lines, traces = thinned(run.train), []
    for source, style in _styles(run).items():
        tokens = curve(shortened(source), lines, [line.source_tokens.get(source) for line in lines], style)
        epochs = curve(
            f"{shortened(source)}, epochs",
            lines,
            [line.epochs.get(source) for line in lines],
            style,
        )
        # A click on the single name hides both.
        group = {"legendgroup": html.escape(source)}
        traces.append(tokens | group)
        traces.append(epochs | group | {"showlegend": False, "yaxis": "y2"})
    what = "text" if run.config.finetune is None else "examples"
    sentence = f"What the run has read of each source: above in tokens, below in epochs of its {what}."
    chart = chart_of("The mixture as trained", sentence, traces, "tokens", from_zero=True)
    chart.figure["layout"]["yaxis"] |= {"hoverformat": ".4~s"}
    _split(chart, "epochs")
    return chart


def _split(chart: Chart, unit: str) -> None:
    """Two panels, one above the other: the second holds the curves of the axis `y2`."""
    layout = chart.figure["layout"]
    layout["yaxis2"] = layout["yaxis"] | {"title": axis_title(unit), "domain": [0, 0.44], "hoverformat": ".4~g"}
    layout["yaxis"] |= {"domain": [0.56, 1]}
    for axis, name in (("yaxis", None), ("yaxis2", "y2")):
        shown = [trace for trace in chart.figure["data"] if trace.get("yaxis") == name]
        layout[axis] |= values_axis([value for trace in shown for value in trace["y"]], from_zero=True, parts=3)
    layout["xaxis"]["anchor"] = "y2"


def _styles(run: RunRecords) -> dict[str, Style]:
    """The colour and the dashes of each source, the same in all charts."""
    validated = run.validations[-1].bits_per_byte | run.validations[-1].loss if run.validations else {}
    trained = [
        source for line in (run.train[:1] + run.train[-1:]) for source in (line.source_tokens or line.source_loss)
    ]
    names = dict.fromkeys([*validated, *trained])
    return {
        source: Style(COLOURS[index % len(COLOURS)], _DASHES[index // len(COLOURS) % len(_DASHES)])
        for index, source in enumerate(names)
    }
