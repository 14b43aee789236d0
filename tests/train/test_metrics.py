"""Metrics survive a crash: torn lines vanish, later steps are dropped, the file stays JSON lines."""

import json
from pathlib import Path

from puna.core.layout import RunDir
from puna.train.metrics import Metrics, read_metrics


def _steps(run: RunDir) -> list[int]:
    return [line["step"] for line in read_metrics(run.metrics)]


def test_lines_are_whole_and_in_order(tmp_path: Path):
    run = RunDir(tmp_path)
    with Metrics(run, resumed_step=0) as metrics:
        metrics.write("train", 1, 256, loss=2.5, lr=1e-3)
        metrics.write("validation", 1, 256, final=False, loss={"prose": 2.0})
        metrics.write("sample", 1, 256, prompt="A", text=" líne\nbreak")
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert lines[0] == {"kind": "train", "step": 1, "tokens": 256, "loss": 2.5, "lr": 1e-3}
    assert lines[2]["text"] == " líne\nbreak"
    assert list(run.tensorboard.glob("events*"))


def test_resumed_run_drops_what_came_after_its_checkpoint_and_a_torn_line(tmp_path: Path):
    run = RunDir(tmp_path)
    with Metrics(run, resumed_step=0) as metrics:
        for step in range(1, 8):
            metrics.write("train", step, step * 256, loss=1.0)
    with run.metrics.open("a") as file:
        file.write('[]\n7\n{"kind": "train"}\n{"kind": "train", "step": 8, "lo')
    with Metrics(run, resumed_step=5) as metrics:
        metrics.write("train", 6, 6 * 256, loss=0.5)
    assert _steps(run) == [1, 2, 3, 4, 5, 6]
