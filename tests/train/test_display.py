"""What a person sees while training, on a file and on a terminal."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import cast

import pytest
from lines import train_line
from made_results import made_task

from puna.config.recipe import Recipe
from puna.core.schema.lines import (
    CheckpointLine,
    EvaluationLine,
    Line,
    RollbackLine,
    SampleLine,
    SkippedLine,
    ValidationLine,
)
from puna.train import display
from puna.train.display import Display
from puna.train.session import Outcome, Session


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still until it is moved."""
    now = [100.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: now[0])
    return now


class Shown(Display):
    """A display outside of a session, which it asks for nothing."""

    def tell(self, line: Line) -> None:
        self.recorded(cast(Session, None), line)

    def advance(self) -> None:
        self.stepped(cast(Session, None), cast(Outcome, None))


def test_file_gets_a_line_now_and_then_and_the_last_one(
    tiny: Recipe, capsys: pytest.CaptureFixture[str], now: list[float]
):
    with Shown(tiny, first_step=0) as shown:
        for step in range(1, 25):
            now[0] += 1.0
            shown.tell(train_line(step))
            shown.advance()
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert captured.out == ""
    assert [text.split()[1] for text in lines] == ["1/24", "11/24", "21/24", "24/24"]
    assert lines[0] == "step 1/24  loss 3.000  lr 1.00e-02  256 tokens/s"
    assert lines[1] == "step 11/24  loss 3.000  lr 1.00e-02  256 tokens/s  13 s left"


def test_file_is_told_of_utilisation_and_waiting_where_they_are_known(tiny: Recipe, capsys: pytest.CaptureFixture[str]):
    with Shown(tiny, first_step=0) as shown:
        shown.tell(train_line(1, mfu={"causal": 0.412, "full": 0.45}, data_wait=0.003))
    assert capsys.readouterr().err.endswith("256 tokens/s  MFU 41.2%  data wait 0.3%\n")


def test_file_is_told_of_events_but_not_of_what_is_said_anyway(tiny: Recipe, capsys: pytest.CaptureFixture[str]):
    with Shown(tiny, first_step=0) as shown:
        shown.tell(SkippedLine(step=3, tokens=768, reason="the loss is nan"))
        shown.tell(ValidationLine(step=3, tokens=768, loss={}, bits_per_byte={"prose": 2.0}))
        shown.tell(EvaluationLine(step=3, tokens=768, tasks=[made_task("harness/hellaswag@0", 42, 100)]))
        shown.tell(SampleLine(step=3, tokens=768, prompt="The", text=" end"))
        shown.tell(RollbackLine(step=2, tokens=512, from_step=3, reason="a spike"))
        shown.tell(CheckpointLine(step=4, tokens=1024, seconds=0.125))
    assert capsys.readouterr().err.splitlines() == [
        "step 3: batch left out: the loss is nan",
        "back from step 3 to 2: a spike",
        "step 4: checkpoint, training stood still for 0.12 s",
    ]


def test_time_left_counts_this_sessions_steps_and_not_how_long_the_first_one_compiled(
    tiny: Recipe, capsys: pytest.CaptureFixture[str], now: list[float]
):
    with Shown(tiny, first_step=14) as shown:
        for seconds in (500.0, 3.0, 5.0):
            now[0] += seconds
            shown.advance()
        shown.tell(train_line(18))
    assert capsys.readouterr().err.endswith("24 s left\n")


def test_time_left_does_not_count_what_was_measured_before_the_first_step(
    tiny: Recipe, capsys: pytest.CaptureFixture[str], now: list[float]
):
    with Shown(tiny, first_step=0) as shown:
        now[0] += 500.0
        shown.tell(ValidationLine(step=0, tokens=0, loss={}, bits_per_byte={"prose": 2.0}))
        now[0] += 3.0
        shown.advance()
        now[0] += 20.0
        shown.tell(train_line(2))
    assert capsys.readouterr().err.endswith("1 min 06 s left\n")


def test_return_to_a_checkpoint_takes_the_bar_back(tiny: Recipe):
    with Shown(tiny, first_step=0) as shown:
        for step in (1, 2, 3, 4, 5, 3, 4):
            shown.tell(train_line(step))
            shown.advance()
            assert shown._dashboard.step == step


TERMINAL = """
import sys, time
from puna.config.load import load_recipe
from puna.core.console import progress, say
from puna.core.schema.lines import CheckpointLine, TrainLine, ValidationLine
from puna.train.display import Display

with Display(load_recipe(sys.argv[1]).recipe, first_step=4) as shown:
    for step in range(5, 11):
        line = TrainLine(step=step, tokens=9, loss=3.0, lr=1e-2, grad_norm=1.0, tokens_per_second=256.0)
        shown.recorded(None, line)
        shown.stepped(None, None)
        time.sleep(0.1)
    with progress("validate prose", 100, "tokens") as advance:
        for _ in range(4):
            advance(25)
            time.sleep(0.15)  # the bar draws itself ten times a second
    shown.recorded(None, ValidationLine(step=10, tokens=9, loss={}, bits_per_byte={"prose": 2.0}))
    say("said in between")
    shown.recorded(None, CheckpointLine(step=10, tokens=9, seconds=0.1))
    if "fail" in sys.argv:
        raise SystemExit(3)
"""


@pytest.mark.parametrize(("columns", "rows", "how", "code"), [(80, 24, "", 0), (40, 16, "fail", 3)])
def test_terminal_gets_a_picture_with_messages_and_other_progress_beside_it(
    tiny_toml: Path, columns: int, rows: int, how: str, code: int
):
    shown, process = on_terminal(tiny_toml, columns, rows, how)
    assert process.returncode == code, shown
    assert process.stdout == b""
    assert "Traceback" not in shown
    for expected in ("╭─ tiny", "loss 3.000", "validate prose", "said in between\r\n", "step 10: checkpoint"):
        assert expected in shown, expected
    last = shown[shown.rindex("╭─ tiny") :]
    assert "of 24 steps" in last
    assert "validate prose" not in last
    assert shown.endswith("\x1b[?25h")  # the cursor is back


def test_dumb_terminal_gets_lines(tiny_toml: Path):
    shown, process = on_terminal(tiny_toml, 80, 24, "", TERM="dumb")
    assert process.returncode == 0, shown
    assert "step 5/24  loss 3.000" in shown
    assert "╭" not in shown


def on_terminal(
    recipe: Path, columns: int, rows: int, how: str, **environment: str
) -> tuple[str, subprocess.CompletedProcess[bytes]]:
    """All that the script writes to a terminal of this size but for the styles, and how it ended."""
    terminal, stderr = pty.openpty()
    fcntl.ioctl(stderr, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    kept = {key: value for key, value in os.environ.items() if key not in {"COLUMNS", "LINES"}}
    process = subprocess.Popen(
        [sys.executable, "-c", TERMINAL, str(recipe), how], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=stderr, env=kept | {"TERM": "xterm-256color", "NO_COLOR": "1"} | environment,
    )  # fmt: skip
    os.close(stderr)
    pieces = []
    with os.fdopen(terminal, "rb", 0) as file:
        try:
            while piece := file.read(4096):
                pieces.append(piece)
        except OSError:  # Linux says so where the writer has gone
            pass
    output, _ = process.communicate(timeout=300)
    text = re.sub(r"\x1b\[[0-9;]*m", "", b"".join(pieces).decode())
    return text, subprocess.CompletedProcess(process.args, process.returncode, output)
