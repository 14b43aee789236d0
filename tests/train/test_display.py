"""What a person sees while training, on a file and on a terminal."""

import pytest

from puna.config.recipe import Recipe
from puna.train import display
from puna.train.display import Display


def test_file_gets_a_line_now_and_then_and_the_last_one(
    tiny: Recipe, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    now = [100.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: now[0])
    with Display(tiny, first_step=0) as shown:
        for step in range(1, 25):
            now[0] += 1.0
            shown.advance()
            shown.log(step, 3.0, 1e-2, 256.0)
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert captured.out == ""
    assert [line.split()[1] for line in lines] == ["1/24", "11/24", "21/24", "24/24"]
    assert "loss 3.000  lr 1.00e-02  256 tokens/s  13 s left" in lines[1]


def test_time_left_of_a_resumed_run_counts_its_own_steps(
    tiny: Recipe, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    now = [0.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: now[0])
    with Display(tiny, first_step=20) as shown:
        now[0] = 20.0
        shown.log(22, 3.0, 1e-2, 256.0)
    assert "20 s left" in capsys.readouterr().err


def test_terminal_gets_a_bar(tiny: Recipe, monkeypatch: pytest.MonkeyPatch):
    advanced = []

    class Bar:
        def __enter__(self):
            return advanced.append

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(display.sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(display, "progress", lambda label, total, unit: Bar())
    with Display(tiny, first_step=0) as shown:
        shown.advance()
        shown.advance()
    assert advanced == [256, 256]
