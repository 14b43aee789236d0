"""The picture of a run: everything is in it, it fits, and no text or number breaks it."""

import math
from io import StringIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lines import train_line
from made_results import made_task
from rich.cells import cell_len
from rich.console import Console

from puna.config.recipe import Recipe
from puna.core.schema.lines import EvaluationLine, SampleLine, TrainLine, ValidationLine
from puna.train import dashboard
from puna.train.dashboard import Dashboard, printable, sparkline

LINE: dict[str, Any] = {
    "step": 12, "tokens": 3072, "loss": 3.214, "lr": 3e-4, "grad_norm": 0.874, "tokens_per_second": 12_345.0,
    "tokens_per_second_overall": 11_900.0, "mfu": {"causal": 0.412, "full": 0.45}, "data_wait": 0.003,
    "memory_bytes": 3_400_000_000, "seconds": 9.0, "source_loss": {"prose": 3.1, "code": 2.6},
    "source_tokens": {"prose": 2304, "code": 768}, "epochs": {"prose": 0.25, "code": 1.5},
}  # fmt: skip


def drawn(shown: Dashboard, width: int, height: int = 50, encoding: str = "utf-8") -> list[str]:
    """The lines that rich would put on a terminal of this size."""

    class Terminal(StringIO):
        @property
        def encoding(self) -> str:  # type: ignore[override]
            return encoding

    console = Console(
        file=Terminal(), force_terminal=True, width=width, height=height, color_system=None, soft_wrap=True
    )
    with console.capture() as capture:
        console.print(shown)
    return capture.get().splitlines()


@pytest.fixture
def full(tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> Dashboard:
    """A dashboard that has been told everything."""
    monkeypatch.setattr(dashboard.time, "strftime", lambda _: "12:30")
    shown = Dashboard(tiny, 11)
    for loss in (5.0, 4.0, LINE["loss"]):
        shown.log(TrainLine(**LINE | {"loss": loss}))
    shown.step, shown.seconds_left = 12, 200.0
    shown.validated(ValidationLine(step=10, tokens=2560, loss={}, bits_per_byte={"prose": 2.5}))
    shown.evaluated(
        EvaluationLine(step=10, tokens=2560, tasks=[made_task("harness/hellaswag@0", 42, 100, title="HellaSwag")])
    )
    shown.sampled(SampleLine(step=10, tokens=2560, prompt="The people", text=" of\nthe United States"))
    shown.event("step 10: checkpoint, training stood still for 0.12 s")
    return shown


def test_everything_is_in_the_picture(full: Dashboard):
    text = "\n".join(" ".join(line.split()) for line in drawn(full, 100))
    for expected in (
        "tiny", "━ 50.0%", "12 of 24 steps", "3.07k of 6.14k tokens", "3 min 20 s left", "batch loss 3.214 █▄▁",
        "3.00e-04 learning rate", "0.87 gradient norm", "12.3k tokens/s", "11.9k overall", "41.2% MFU",
        "0.3% data wait", "3.2 GiB memory", "mean held-out", "source share tokens epochs loss bits/byte",
        "prose 75.0% 2.3k 0.25 3.100 2.500", "code 25.0% 768 1.50 2.600 -", "The people of the United States",
        "12:30 step 10: held-out bits per byte: prose 2.500", "12:30 step 10: benchmarks: HellaSwag 0.420",
        "12:30 step 10: checkpoint, training stood still for 0.12 s",
    ):  # fmt: skip
        assert expected in text, expected


def test_narrow_picture_leaves_out_what_can_be_missed_and_breaks_no_figure(full: Dashboard):
    lines = drawn(full, 40)
    text = "\n".join(" ".join(line.split()) for line in lines)
    for expected in (
        "12 of 24 steps", "3.07k of 6.14k tokens", "3.00e-04 learning rate", "0.87 gradient norm", "12.3k tokens/s",
        "41.2% MFU", "source share loss bits/byte", "prose 75.0% 3.100 2.500", "code 25.0% 2.600 -",
    ):  # fmt: skip
        assert expected in text, expected
    assert all(cell_len(line) == 40 for line in lines)


@pytest.mark.parametrize("width", [5, 12, 20, 33, 60, 80, 250])
def test_no_line_is_wider_than_the_terminal(full: Dashboard, width: int):
    assert max(map(cell_len, drawn(full, width))) <= width


def test_short_terminal_keeps_room_for_a_validation_and_the_figures_longest(full: Dashboard):
    needed = len(drawn(full, 80))
    for height in range(6, needed + 5):
        lines = drawn(full, 80, height)
        assert len(lines) <= height - 2
        text = "\n".join(lines)
        shown = [word in text for word in ("United States", "prose", "checkpoint", "learning rate", "of 24 steps")]
        assert shown == sorted(shown), height
    assert all(shown)
    assert len(lines) == needed


def test_long_name_of_a_source_leaves_room_for_the_figures(tiny: Recipe):
    shown = Dashboard(tiny, 0)
    name = "a-source-with-a-name-that-nobody-wanted-to-type-twice"
    shown.log(TrainLine(**LINE | {"source_tokens": {name: 3}, "source_loss": {name: 1.25}, "epochs": {name: 0.5}}))
    for width in (40, 60):
        [line] = [line for line in drawn(shown, width) if "100.0%" in line]
        assert "a-so" in line
        assert "…" in line
        assert "1.250" in line


def test_before_the_first_log_line_there_is_a_bar(tiny: Recipe):
    text = "\n".join(drawn(Dashboard(tiny, 0), 80))
    assert "0 of 24 steps" in text
    assert "loss" not in text
    assert "left" not in text


def test_line_of_an_older_run_is_shown_without_what_it_lacks(tiny: Recipe):
    shown = Dashboard(tiny, 0)
    shown.log(train_line(12, loss=3.214))
    text = "\n".join(drawn(shown, 80))
    assert "loss 3.214" in text
    assert "MFU" not in text


def test_only_the_newest_losses_and_events_are_shown(tiny: Recipe):
    shown = Dashboard(tiny, 0)
    for number in range(200):
        shown.log(TrainLine(**LINE | {"loss": float(number)}))
        shown.event(f"event {number}")
    text = "\n".join(drawn(shown, 200))
    assert sum(text.count(level) for level in dashboard._LEVELS) == 60
    assert "event 195" not in text
    assert text.index("event 196") < text.index("event 199")


def test_long_sample_takes_two_lines(tiny: Recipe):
    shown = Dashboard(tiny, 0)
    shown.sampled(SampleLine(step=1, tokens=256, prompt="word", text=" word" * 99))
    lines = [line for line in drawn(shown, 60) if "word" in line]
    assert len(lines) == 2
    assert lines[1].rstrip(" │").endswith("word…")


def test_terminal_without_unicode_gets_none(tiny: Recipe):
    shown = Dashboard(tiny, 0)
    shown.log(TrainLine(**LINE))
    "\n".join(drawn(shown, 80, encoding="ascii")).encode("ascii")


@given(st.text(max_size=60))
def test_printable_text_is_one_line_that_moves_no_cursor(text: str):
    assert printable(text).isprintable()


def test_printable_text_keeps_its_words():
    assert printable(" of\n\tthe \x1b[31mUnited\x07 States") == " of the [31mUnited States"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((), ""),
        ((2.0,), "▁"),
        ((1.0, 1.0), "▁▁"),
        (tuple(map(float, range(8))), "▁▂▃▄▅▆▇█"),
        ((math.nan, 1.0, math.inf, 0.0), " █ ▁"),
        ((math.nan,), " "),
        ((-1.7e308, 1.7e308), "▁█"),
    ],
)
def test_sparkline_goes_from_the_lowest_to_the_highest(values: tuple[float, ...], expected: str):
    assert sparkline(values) == expected


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2))
def test_sparkline_rises_where_the_values_do(values: list[float]):
    bars = sparkline(tuple(values))
    for one, other in zip(
        sorted(zip(values, bars, strict=True)), sorted(zip(values, bars, strict=True))[1:], strict=False
    ):
        assert one[1] <= other[1]


@settings(max_examples=60)
@given(st.data())
def test_any_numbers_and_texts_fit(tiny: Recipe, data: st.DataObject):
    number = st.floats(allow_nan=False, allow_infinity=False)
    shown = Dashboard(tiny, data.draw(st.integers(0, 30)))
    names = data.draw(st.lists(st.text(max_size=30), max_size=4, unique=True))
    shown.log(
        TrainLine(
            **LINE
            | {"loss": data.draw(number), "lr": data.draw(number), "grad_norm": data.draw(number)}
            | {"source_tokens": {name: data.draw(st.integers(0, 2**62)) for name in names}}
            | {"source_loss": {name: data.draw(number) for name in names[1:]}}
        )
    )
    bits = {name: data.draw(number) for name in names}
    shown.validated(ValidationLine(step=1, tokens=256, loss={}, bits_per_byte=bits))
    shown.sampled(SampleLine(step=1, tokens=256, prompt=data.draw(st.text()), text=data.draw(st.text())))
    width = data.draw(st.integers(20, 130))
    assert max(map(cell_len, drawn(shown, width))) <= width
