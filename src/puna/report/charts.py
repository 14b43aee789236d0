"""The curves of a report as plotly figures: plain data, drawn by the page."""

from typing import Any

from puna.report.read import RunRecords

COLOURS = ["#2f6f8f", "#c2662d", "#5b8c3e", "#8a4f9e", "#b33a4a", "#7a6a2b", "#3d5fa8"]
"""One per source, distinguishable also with the common colour deficiencies."""

_SMOOTHING = 0.9


def charts(run: RunRecords) -> list[dict[str, Any]]:
    """Title, sentence and figure of each chart that the run has data for."""
    found = []
    if run.validations:
        found.append(_bits_per_byte(run))
    if run.train:
        found += [_loss(run), _learning_rate(run), _throughput(run)]
    return found


def smooth(values: list[float]) -> list[float]:
    """Exponential moving average without the bias towards its beginning (Kingma and Ba 2015, section 3)."""
    average, smoothed = 0.0, []
    for count, value in enumerate(values, 1):
        average = _SMOOTHING * average + (1 - _SMOOTHING) * value
        smoothed.append(average / (1 - _SMOOTHING**count))
    return smoothed


def _bits_per_byte(run: RunRecords) -> dict[str, Any]:
    # A part of the held-out text while training, all of it at the end: two measurements, drawn apart.
    traces = []
    unigrams = {source["name"]: source.get("unigram_bits_per_byte") for source in (run.card or {}).get("sources", [])}
    last = run.validations[-1]
    for colour, source in zip(COLOURS * 9, last["bits_per_byte"], strict=False):
        during = [line for line in run.validations if not line.get("final")]
        traces.append(
            _line(source, during, [line["bits_per_byte"][source] for line in during], colour)
            | {"mode": "lines+markers"}
        )
        final = [line for line in run.validations if line.get("final")]
        traces.append(
            _line(f"{source}, all of it", final, [line["bits_per_byte"][source] for line in final], colour)
            | {"mode": "markers", "marker": {"symbol": "diamond", "size": 11, "color": colour}, "showlegend": False}
        )
        if unigrams.get(source):
            first = min(line["tokens"] for line in run.validations)
            traces.append(
                {
                    "name": f"{source}, unigrams", "x": [first, last["tokens"]], "y": [unigrams[source]] * 2,
                    "mode": "lines", "line": {"color": colour, "dash": "dot", "width": 1}, "showlegend": False,
                }
            )  # fmt: skip
    return _chart(
        "Held-out bits per byte",
        "Lower is better. Lines: part of the text, while training; diamonds: all of it; dotted: token frequencies.",
        traces,
        "bits per byte",
    )


def _loss(run: RunRecords) -> dict[str, Any]:
    losses = [line["loss"] for line in run.train]
    raw = _line("each logged step", run.train, losses, COLOURS[0]) | {"opacity": 0.35}
    average = _line("moving average (0.9)", run.train, smooth(losses), COLOURS[0])
    average["line"]["width"] = 2.5
    return _chart("Training loss", "Mean over the batch of each logged step.", [raw, average], "nats per token")


def _learning_rate(run: RunRecords) -> dict[str, Any]:
    rate = _line("learning rate", run.train, [line["lr"] for line in run.train], COLOURS[0])
    norm = _line("gradient norm", run.train, [line["grad_norm"] for line in run.train], COLOURS[1])
    chart = _chart(
        "Learning rate and gradient norm", "The norm is taken before clipping.", [rate, norm | {"yaxis": "y2"}],
        "learning rate",
    )  # fmt: skip
    chart["figure"]["layout"]["yaxis"]["exponentformat"] = "e"
    chart["figure"]["layout"]["yaxis2"] = {
        "title": {"text": "gradient norm"}, "overlaying": "y", "side": "right", "rangemode": "tozero",
        "showgrid": False, "automargin": True, "nticks": 6, "zeroline": False,
    }  # fmt: skip
    return chart


def _throughput(run: RunRecords) -> dict[str, Any]:
    rates = [line["tokens_per_second"] for line in run.train]
    trace = _line("median between two log lines", run.train, rates, COLOURS[2])
    chart = _chart("Throughput", "Optimizer steps alone, without validation.", [trace], "tokens/s")
    chart["figure"]["layout"]["yaxis"]["rangemode"] = "tozero"
    return chart


def _line(name: str, lines: list[dict[str, Any]], values: list[float], colour: str) -> dict[str, Any]:
    tokens = [line["tokens"] for line in lines]
    return {"name": name, "x": tokens, "y": values, "mode": "lines", "line": {"color": colour, "width": 1.5}}


def _chart(title: str, sentence: str, traces: list[dict[str, Any]], unit: str) -> dict[str, Any]:
    axis = {"automargin": True, "zeroline": False}
    layout = {
        "height": 330,
        "margin": {"l": 10, "r": 10, "t": 10, "b": 10},
        "xaxis": {"title": {"text": "tokens trained on"}, "rangemode": "tozero"} | axis,
        "yaxis": {"title": {"text": unit}} | axis,
        "legend": {"orientation": "h", "y": -0.25},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hovermode": "x unified",
        "font": {"family": "system-ui, sans-serif", "size": 12},
    }
    return {"title": title, "sentence": sentence, "figure": {"data": traces, "layout": layout}}
