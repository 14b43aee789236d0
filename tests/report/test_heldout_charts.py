"""The held-out loss of a tuned run: a line from before its first step, and diamonds where all examples are read."""

from puna.core.schema.lines import ValidationLine
from puna.report.curves import Style
from puna.report.heldout_charts import heldout_charts
from puna.report.wording import ANSWERS, PAIRS

STYLES = {"talks": Style("#111111")}


def line(step: int, loss: float, *, final: bool = False) -> ValidationLine:
    return ValidationLine(step=step, tokens=100 * step, final=final, loss={"talks": loss}, bits_per_byte={})


def test_the_line_begins_before_the_first_step_and_all_examples_are_diamonds():
    (chart,) = heldout_charts([line(0, 4.0), line(5, 3.0), line(9, 2.5, final=True)], STYLES, ANSWERS)
    found = [(trace["x"], trace["y"], trace["mode"]) for trace in chart.figure["data"]]
    assert found == [([0, 500], [4.0, 3.0], "lines+markers"), ([0, 900], [4.0, 2.5], "markers")]
    assert chart.title == "Loss on held-out answers"
    assert chart.figure["layout"]["yaxis"]["title"]["text"] == "nats per learned token"
    assert chart.sentence.endswith(
        "before the first step and at the end; dots between: a part of them, while training."
    )


def test_what_is_not_there_yet_is_not_spoken_of():
    (chart,) = heldout_charts([line(0, 4.0)], STYLES, PAIRS)
    assert chart.sentence == "Lower is better. Diamonds: all of them, before the first step."


def test_a_run_without_held_out_examples_has_no_chart():
    assert heldout_charts([], STYLES, ANSWERS) == []
    assert heldout_charts([ValidationLine(step=0, tokens=0, loss={}, bits_per_byte={})], STYLES, ANSWERS) == []
