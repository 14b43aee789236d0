"""What people read while a command works: messages and progress go to stderr, and stdout stays free for data."""

import os
import pty
import re
import subprocess
import sys

import pytest
from rich.cells import cell_len

from puna.core import console
from puna.core.console import muted, progress, say, warn


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(console, "time", clock)
    return clock


def test_messages_go_to_stderr_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    say("runs/[bold]/a:smile:b " + "x" * 300)
    warn("half full")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "runs/[bold]/a:smile:b " + "x" * 300 + "\nwarning: half full\n"


def test_a_file_gets_a_line_every_ten_seconds_with_rate_and_time_left(
    capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    with progress("tokenize prose", 1000, "documents") as advance:
        clock.now += 9.9
        advance(100)
        assert capsys.readouterr().err == ""
        clock.now += 0.1
        advance(100)
        assert capsys.readouterr().err == "tokenize prose: 200 documents, 20 documents/s, 40 s left\n"
        clock.now += 5
        advance(100)
        assert capsys.readouterr().err == ""
        clock.now += 5
        advance(1700)
    captured = capsys.readouterr()
    assert captured.err == "tokenize prose: 2k documents, 100 documents/s, 0.0 s left\n"
    assert captured.out == ""


def test_without_a_total_no_time_is_promised(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    with progress("read", None, "bytes") as advance:
        clock.now += 20
        advance(4000)
    assert capsys.readouterr().err == "read: 4k bytes, 200 bytes/s\n"


def test_short_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("read", 10, "files") as advance:
        advance(10)
    assert capsys.readouterr() == ("", "")


def test_an_error_passes_through_the_progress() -> None:
    with pytest.raises(RuntimeError, match="inside"), progress("read", 10, "files"):
        raise RuntimeError("inside")


WORK = """
from rich.progress import Progress
from puna.core.console import progress, say
update = Progress.update
# Draws at each step; otherwise what is drawn depends on how fast this is.
Progress.update = lambda *arguments, **options: update(*arguments, **options, refresh=True)
with progress("tokenize [prose]", {total}, "documents") as advance:
    for _ in range(4):
        advance(250)
say("done")
"""


def test_what_would_steer_the_terminal_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    console.say("a\x1b[31mb")
    console.warn("c\x9bd")
    assert capsys.readouterr().err == "a\\x1b[31mb\nwarning: c\\x9bd\n"


@pytest.mark.parametrize(("total", "amount"), [("1000", "50%"), ("None", "500 documents")])
def test_a_terminal_gets_a_bar_and_stdout_stays_empty(total: str, amount: str) -> None:
    terminal, stderr = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "120", "NO_COLOR": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", WORK.format(total=total)], stdout=subprocess.PIPE, stderr=stderr, env=environment
    )
    os.close(stderr)
    shown = read_terminal(terminal)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    assert output == b""
    assert "tokenize [prose]" in shown
    assert amount in shown
    assert "━" in shown
    assert "documents/s" in shown
    assert "done" in shown


@pytest.mark.parametrize("columns", [24, 40, 59, 60, 80, 200])
def test_progress_takes_one_line_of_the_terminal_whatever_its_width_and_label(columns: int) -> None:
    """Where it took two, the cursor went back by one, and pieces of what is drawn above it stayed on the terminal."""
    terminal, stderr = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": str(columns), "NO_COLOR": "1"}
    label = "validate a-source-with-a-name-that-nobody-wanted\\nto-type-twice"
    script = WORK.replace("tokenize [prose]", label).format(total=1000)
    process = subprocess.Popen([sys.executable, "-c", script], stderr=stderr, env=environment)
    os.close(stderr)
    shown = read_terminal(terminal)
    assert process.wait(timeout=300) == 0
    assert "\x1b[1A\x1b[2K\x1b[1A" not in shown
    drawn = [re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line) for line in re.split(r"[\r\n]+", shown)]
    assert max(map(cell_len, drawn)) <= columns
    assert any(line.startswith("valid") for line in drawn)
    assert any("50%" in line for line in drawn) or columns < 59


def read_terminal(terminal: int) -> str:
    """All that is written to a terminal until the writer has gone, which Linux reports as an error."""
    with os.fdopen(terminal, "rb", 0) as file:
        pieces = []
        try:
            while piece := file.read(4096):
                pieces.append(piece)
        except OSError:
            pass
        return b"".join(pieces).decode()


def test_what_is_muted_inside_of_what_is_muted_stays_so_until_the_outer_end() -> None:
    quiet = []
    with muted(True):
        with muted(True):
            quiet.append(console.console().quiet)
        quiet.append(console.console().quiet)
    quiet.append(console.console().quiet)
    assert quiet == [True, True, False]
