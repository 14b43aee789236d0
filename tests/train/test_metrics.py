"""Metrics survive a crash: torn lines vanish, later steps are dropped, a full disk is one sentence."""

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any, cast

import pytest
from lines import train_line
from made_results import made_task
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from puna.core.errors import StorageError, TrainError
from puna.core.layout import RunDir
from puna.core.metrics import read_metrics
from puna.core.schema.lines import (
    CheckpointLine,
    EvaluationLine,
    RollbackLine,
    SampleLine,
    SessionLine,
    SkippedLine,
    ValidationLine,
)
from puna.train import metrics as module
from puna.train.metrics import Metrics
from puna.train.session import Session


def _steps(run: RunDir) -> list[int]:
    return [line["step"] for line in read_metrics(run.metrics)]


def _board(run: RunDir) -> EventAccumulator:
    accumulator = EventAccumulator(str(run.tensorboard))
    accumulator.Reload()
    return accumulator


def test_lines_are_whole_and_in_order(tmp_path: Path):
    run = RunDir(tmp_path)
    with Metrics(run, resumed_step=0) as metrics:
        metrics.write(train_line(1, loss=2.5))
        metrics.write(ValidationLine(step=1, tokens=256, loss={"prose": 2.0}, bits_per_byte={}))
        metrics.write(SampleLine(step=1, tokens=256, prompt="A", text=" líne\nbreak"))
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert list(lines[0].items()) == [
        ("kind", "train"), ("step", 1), ("tokens", 256), ("loss", 2.5), ("lr", 1e-2), ("grad_norm", 1.0),
        ("tokens_per_second", 256.0),
    ]  # fmt: skip
    assert lines[2]["text"] == " líne\nbreak"
    assert list(run.tensorboard.glob("events*"))


def test_tensorboard_shows_every_number_under_its_path(tmp_path: Path):
    run = RunDir(tmp_path)
    with Metrics(run, resumed_step=0) as metrics:
        metrics.write(train_line(1, loss=2.5, mfu={"causal": 0.5}, memory_bytes=1024, epochs={"prose": 0.25}))
        metrics.write(ValidationLine(step=1, tokens=256, final=True, loss={"prose": 2.0}, bits_per_byte={}))
        tasks = [made_task("harness/hellaswag@0", 42, 100), made_task("llama/piqa@0", 0, 0)]
        metrics.write(EvaluationLine(step=1, tokens=256, tasks=tasks, seconds=2.5))
        metrics.write(SkippedLine(step=2, tokens=512, reason="the loss is nan", loss="nan", first_sequence=8))
    board = _board(run)
    assert sorted(board.Tags()["scalars"]) == [
        "evaluation/harness/hellaswag@0/acc", "evaluation/seconds",
        "skipped/first_sequence", "train/epochs/prose", "train/grad_norm", "train/loss", "train/lr",
        "train/memory_bytes", "train/mfu/causal", "train/tokens_per_second", "validation/loss/prose",
    ]  # fmt: skip
    assert [(event.step, event.value) for event in board.Scalars("train/memory_bytes")] == [(1, 1024.0)]
    assert board.Scalars("evaluation/harness/hellaswag@0/acc")[0].value == pytest.approx(0.42)


def test_resumed_run_drops_what_came_after_its_checkpoint_and_a_torn_line(tmp_path: Path):
    run = RunDir(tmp_path)
    with Metrics(run, resumed_step=0) as metrics:
        for step in range(1, 8):
            metrics.write(train_line(step, loss=1.0))
    with run.metrics.open("a") as file:
        file.write("[]\n7\n" + "[" * 100_000 + '\n{"kind": "train"}\n{"kind": "train", "step": 8, "lo')
    with Metrics(run, resumed_step=5) as metrics:
        metrics.write(train_line(6, loss=0.5))
    assert _steps(run) == [1, 2, 3, 4, 5, 6]
    assert [event.value for event in _board(run).Scalars("train/loss")] == [1.0] * 5 + [0.5]


def test_a_line_of_no_known_kind_stays_and_is_not_shown(tmp_path: Path):
    run = RunDir(tmp_path)
    run.metrics.write_text('{"step": 5}\n{"kind": "own", "step": 5, "x": 1}\n')
    with Metrics(run, resumed_step=5):
        pass
    assert _steps(run) == [5, 5]
    assert _board(run).Tags()["scalars"] == []


def _checkpoint(step: int) -> CheckpointLine:
    return CheckpointLine(step=step, tokens=256 * step, seconds=0.1)


def test_lines_that_were_written_after_the_checkpoint_with_its_step_are_not_written_twice(tmp_path: Path):
    """The end of a run and a return to a checkpoint bear the step of a checkpoint that was saved before them."""
    run = RunDir(tmp_path)
    final = ValidationLine(step=2, tokens=512, final=True, loss={"prose": 2.0}, bits_per_byte={})
    back = RollbackLine(step=2, tokens=512, from_step=3, reason="a spike")
    sample = SampleLine(step=2, tokens=512, prompt="A", text=" b")
    with Metrics(run, resumed_step=0) as metrics:
        for line in (train_line(1, loss=1.0), train_line(2, loss=0.5), sample, _checkpoint(2), final, back):
            metrics.write(line)
    for _ in range(3):
        with Metrics(run, resumed_step=2) as metrics:
            metrics.write(final)
            metrics.write(back)
    kinds = [line["kind"] for line in read_metrics(run.metrics)]
    assert kinds == ["train", "train", "sample", "checkpoint", "validation", "rollback"]
    board = _board(run)
    assert [event.step for event in board.Scalars("train/loss")] == [1, 2]
    assert [event.step for event in board.Scalars("validation/loss/prose")] == [2]
    assert [event.step for event in board.Scalars("rollback/from_step")] == [2]


def test_a_return_that_a_later_checkpoint_remembers_stays_when_the_run_goes_on_from_it(tmp_path: Path):
    run = RunDir(tmp_path)
    back = RollbackLine(step=2, tokens=512, from_step=3, reason="a spike")
    with Metrics(run, resumed_step=0) as metrics:
        for line in (train_line(2, loss=0.5), _checkpoint(2), back, train_line(3, loss=0.4), _checkpoint(3)):
            metrics.write(line)
        metrics.write(train_line(4, loss=0.3))
    with Metrics(run, resumed_step=3):
        pass
    kinds = [line["kind"] for line in read_metrics(run.metrics)]
    assert kinds == ["train", "checkpoint", "rollback", "train", "checkpoint"]


def _session(step: int, command: str) -> SessionLine:
    return SessionLine(step=step, tokens=256 * step, command=command, started="", device="", devices=2, puna="")


def test_every_session_stays_whatever_has_become_of_its_steps_and_none_is_drawn(tmp_path: Path):
    """The first is killed after the checkpoint of step 2, the second before it has saved anything."""
    run = RunDir(tmp_path)
    with Metrics(run, resumed_step=0) as metrics:
        for line in (_session(0, "first"), train_line(2, loss=0.5), _checkpoint(2), train_line(3, loss=0.4)):
            metrics.write(line)
    with Metrics(run, resumed_step=2) as metrics:
        metrics.write(_session(2, "second"))
        metrics.write(train_line(3, loss=0.4))
    with Metrics(run, resumed_step=2) as metrics:
        metrics.write(_session(2, "third"))
        metrics.rewind(1)
    lines = list(read_metrics(run.metrics))
    assert [line.get("command", line["kind"]) for line in lines] == ["first", "second", "third"]
    assert not [tag for tag in _board(run).Tags()["scalars"] if "session" in tag]


def test_a_number_that_is_not_finite_never_reaches_the_file(tmp_path: Path):
    run = RunDir(tmp_path)
    with Metrics(run, resumed_step=0) as metrics:
        metrics.write(train_line(1, loss=1.0))
        with pytest.raises(ValueError, match="finite number"):
            metrics.write(train_line(2, loss=float("nan")))
    assert _steps(run) == [1]


def test_return_to_a_checkpoint_drops_what_came_after_it(tmp_path: Path):
    run = RunDir(tmp_path)
    with Metrics(run, resumed_step=0) as metrics:
        for step in range(1, 8):
            metrics.write(train_line(step, loss=1.0))
        metrics.recorded(cast(Session, None), RollbackLine(step=5, tokens=1280, from_step=7, reason="a spike"))
        metrics.write(train_line(6, loss=0.5))
    assert _steps(run) == [1, 2, 3, 4, 5, 5, 6]
    assert [event.step for event in _board(run).Scalars("train/loss")] == [1, 2, 3, 4, 5, 6]


def test_long_file_is_not_held_in_memory_to_resume(tmp_path: Path):
    run = RunDir(tmp_path)
    line = json.dumps({"kind": "sample", "step": 1, "tokens": 256, "prompt": "", "text": "x" * 10_000})
    run.metrics.write_text(f"{line}\n" * 1000)
    tracemalloc.start()
    with Metrics(run, resumed_step=5):
        peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e6
    assert len(_steps(run)) == 1000


FULL = """
import json, resource, sys
from pathlib import Path
from puna.cli import main
from puna.core.layout import RunDir
from puna.core.schema.lines import LINES
from puna.train.metrics import Metrics

def fill():
    with Metrics(RunDir(Path(sys.argv[1])), resumed_step=0) as metrics:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, resource.RLIM_INFINITY))
        for step in range(1000):
            metrics.write(LINES[sys.argv[2]](step=step, tokens=step, **json.loads(sys.argv[3])))

import puna.cli
puna.cli._run = fill
main()
"""


@pytest.mark.parametrize(
    ("kind", "values", "file"),
    [
        ("skipped", {"reason": "a" * 80}, "metrics.jsonl"),
        ("validation", {"loss": dict.fromkeys("abcdefgh", 1.0), "bits_per_byte": {}}, "events.out.tfevents"),
    ],
)
def test_full_disk_is_one_sentence_and_no_traceback(tmp_path: Path, kind: str, values: dict[str, Any], file: str):
    """Whichever of the files meets the limit first: texts fill the one, short names of numbers the other."""
    process = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path), kind, json.dumps(values)], capture_output=True, text=True
    )
    assert process.returncode == 2, process.stderr
    assert "Traceback" not in process.stderr
    assert process.stderr.count("error:") == 1
    assert file in process.stderr.partition(": no space left to write it")[0]
    steps = [line["step"] for line in read_metrics(tmp_path / "metrics.jsonl")]
    assert steps == list(range(len(steps)))
    assert len(steps) > 10


class _Full:
    """A file on a full disk that fails where it is told to."""

    def __init__(self, fails: str) -> None:
        self._fails = fails

    def __getattr__(self, name: str) -> Any:
        def call(*_: object) -> None:
            if name == self._fails:
                raise OSError(28, "No space left on device")

        return call


@pytest.mark.parametrize("fails", ["write", "flush", "close"])
def test_every_refusal_of_the_disk_is_a_storage_error(tmp_path: Path, fails: str):
    metrics = Metrics(RunDir(tmp_path), resumed_step=0)
    metrics._file.close()
    metrics._file = _Full(fails)  # type: ignore[assignment]
    with pytest.raises(StorageError, match=r"metrics\.jsonl: no space left"), metrics:
        metrics.write(train_line(1, loss=1.0))
    assert metrics._events._file.closed


def test_what_went_wrong_first_is_what_is_said(tmp_path: Path):
    metrics = Metrics(RunDir(tmp_path), resumed_step=0)
    metrics._file.close()
    metrics._file = _Full("close")  # type: ignore[assignment]
    with pytest.raises(TrainError, match="the loss is nan"), metrics:
        raise TrainError("the loss is nan")


def test_metrics_that_are_a_folder_are_named(tmp_path: Path):
    run = RunDir(tmp_path)
    run.metrics.mkdir()
    with pytest.raises(StorageError, match=r"metrics\.jsonl: cannot be written"):
        Metrics(run, resumed_step=0)


def test_weights_and_biases_gets_the_numbers_only_where_a_project_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    calls: list[Any] = []

    class There:
        def __init__(self, run: RunDir, project: str, *, resumed: bool) -> None:
            calls.append((project, resumed))

        def write(self, *values: Any) -> None:
            calls.append(values)

        def close(self, *, failed: bool) -> None:
            calls.append(failed)

    monkeypatch.setattr(module, "WeightsBiasesRun", There)
    with Metrics(RunDir(tmp_path), resumed_step=0) as metrics:
        metrics.write(train_line(1))
    assert calls == []
    with Metrics(RunDir(tmp_path), resumed_step=1, wandb_project="llamas") as metrics:
        metrics.write(ValidationLine(step=2, tokens=512, final=True, loss={"prose": 2.5}, bits_per_byte={}))
        metrics.write(SampleLine(step=2, tokens=512, prompt="The", text=" end"))
    with pytest.raises(KeyboardInterrupt), Metrics(RunDir(tmp_path), resumed_step=2, wandb_project="llamas"):
        raise KeyboardInterrupt
    assert calls == [
        ("llamas", True), (2, 512, {"validation/loss/prose": 2.5}, {}), (2, 512, {}, {"The": "The end"}), False,
        ("llamas", True), True,
    ]  # fmt: skip


def test_file_that_is_not_there_has_no_lines(tmp_path: Path):
    assert list(read_metrics(tmp_path / "metrics.jsonl")) == []
