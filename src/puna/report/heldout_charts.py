"""The curves of a tuned run on what is held out: conversations or pairs, from before its first step to its end."""

import html
from collections.abc import Mapping

from puna.core.schema.lines import ValidationLine
from puna.report.curves import COLOURS, Chart, Style, chart_of, curve
from puna.report.names import shortened
from puna.report.wording import Wording


def heldout_charts(lines: list[ValidationLine], styles: Mapping[str, Style], words: Wording) -> list[Chart]:
    """The loss on held-out examples by source; none where the run has no validation.

    Args:
        lines: Of the run, in order.
        styles: How the sources look in the other charts.
        words: What the run calls its figures.
    """
    if not any(line.loss for line in lines):
        return []
    parts = {line.step: line for line in lines if not line.final}
    # The ends are of all held-out examples, what lies between them of a part that may be smaller.
    ends = [line for line in lines if line.final or line.step == 0]
    traces = []
    for number, source in enumerate(dict.fromkeys(source for line in lines for source in line.loss)):
        style = styles.get(source, Style(COLOURS[number % len(COLOURS)]))
        group = {"legendgroup": html.escape(source)}
        own = list(parts.values())
        line = curve(shortened(source), own, [point.loss.get(source) for point in own], style)
        traces.append(line | group | {"mode": "lines+markers"})
        diamonds = {"symbol": "diamond", "size": 10, "color": style.colour}
        marks = curve(f"{shortened(source)}, all of them", ends, [end.loss.get(source) for end in ends], style)
        traces.append(marks | group | {"mode": "markers", "marker": diamonds, "showlegend": False})
    sentence = "Lower is better. Diamonds: all of them, before the first step"
    sentence += " and at the end" if any(line.final for line in lines) else ""
    sentence += "; dots between: a part of them, while training." if len(parts) > 1 else "."
    return [chart_of(f"Loss on {words.heldout}", sentence, traces, words.unit)]
