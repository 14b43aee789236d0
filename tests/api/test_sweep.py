"""Sweeps: each run is what it would be alone, one that fails ends no other, all of it can be interrupted and go on."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from compared_runs import STEPS, compared_run

import puna
from puna.api import sweep as module
from puna.config.load import load_recipe
from puna.core.errors import CheckpointError, ConfigError, DataError, TrainError
from puna.core.layout import DataDir, RunDir


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The words of the commands that would have trained, each of which makes a run by hand; the rate 0.5 fails."""
    commands: list[list[str]] = []

    def train(command: list[str]) -> int:
        assert command[:4] == [sys.executable, "-m", "puna", "train"]
        words = command[4:]
        commands.append(words)
        run = RunDir(Path(words[words.index("--run-dir") + 1]))
        overrides = [word for word in words[1:] if "=" in word and not word.startswith("/")]
        if not run.config.is_file():
            fails = "optim.lr=0.5" in words
            compared_run(run.root, load_recipe(words[0], overrides).recipe, steps=3 if fails else STEPS)
        return 2 if "optim.lr=0.5" in words else 0

    monkeypatch.setattr(module, "_train", train)
    return commands


def test_a_run_of_a_sweep_has_the_bits_of_the_run_alone_and_one_that_fails_ends_no_other(
    tiny_toml: Path, tiny_data: DataDir, tiny_run: RunDir, tmp_path: Path
):
    made = puna.sweep(tiny_toml, {"optim.lr": [1e30, 1e-2]}, data=tiny_data, run=tmp_path / "tiny")
    failed, alike = made.runs
    assert [run.root.name for run in made.runs] == ["tiny-lr=1e+30", "tiny-lr=0.01"]
    assert made.failed == [failed]
    weights = [run.model / "model.safetensors" for run in (alike, tiny_run)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert made.comparison is not None
    assert [run.finished for run in made.comparison.runs] == [False, True]
    assert made.page == tmp_path / "tiny-lr.html"
    assert "2 runs compared" in made.page.read_text()


def test_every_combination_is_a_run_with_the_words_of_a_command_of_its_own(
    trained: list[list[str]], tiny_toml: Path, tiny_data: DataDir, tmp_path: Path
):
    made = puna.sweep(
        tiny_toml, {"optim.lr": [1e-3, 2e-3], "seed": [1, 2]}, overrides=["train.log_every=2"], data=tiny_data,
        run=tmp_path / "s", init_from="models/base", stop_at=24,
    )  # fmt: skip
    names = ["s-lr=0.001-seed=1", "s-lr=0.001-seed=2", "s-lr=0.002-seed=1", "s-lr=0.002-seed=2"]
    assert [run.root.name for run in made.runs] == names
    assert trained[1] == [
        str(tiny_toml), "train.log_every=2", "optim.lr=0.001", "seed=2", "--run-dir", str(made.runs[1]), "--data-dir",
        str(tiny_data), "--init-from", "models/base", "--stop-at", "24",
    ]  # fmt: skip
    assert [difference.key for difference in made.comparison.differences] == ["seed", "optim.lr"]  # type: ignore[union-attr]
    assert made.page == tmp_path / "s-lr-seed.html"


def test_a_sweep_goes_on_with_what_is_there_and_begins_what_is_not(
    trained: list[list[str]], tiny_toml: Path, tiny_data: DataDir, tmp_path: Path
):
    several, run = {"optim.lr": ["0.1", "0.5"]}, tmp_path / "s"
    made = puna.sweep(tiny_toml, several, data=tiny_data, run=run)
    assert made.failed == [made.runs[1]]
    assert made.comparison is not None
    assert made.comparison.notes[0] == "s-lr=0.5 ended with an error (exit code 2), which it has printed."
    with pytest.raises(CheckpointError, match=r"s-lr=0.1: holds a run already") as raised:
        puna.sweep(tiny_toml, several, data=tiny_data, run=run)
    assert "--resume" in raised.value.hint
    trained.clear()
    puna.sweep(tiny_toml, {"optim.lr": ["0.1", "0.5", "0.2"]}, data=tiny_data, run=run, resume=True)
    assert [words[-1] for words in trained] == ["--resume", "--resume", str(tiny_data)]
    trained.clear()
    puna.sweep(tiny_toml, several, data=tiny_data, run=run, force=True)
    assert [words[-1] for words in trained] == ["--force", "--force"]
    with pytest.raises(TrainError, match="give one of them"):
        puna.sweep(tiny_toml, several, data=tiny_data, run=run, resume=True, force=True)


def test_nothing_begins_where_something_is_wrong(
    trained: list[list[str]], tiny_toml: Path, tiny_data: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = tmp_path / "s"
    with pytest.raises(ConfigError, match=r"optim.lr"):
        puna.sweep(tiny_toml, {"optim.lr": ["0.1", "wide"]}, data=tiny_data, run=run)
    with pytest.raises(ConfigError, match=r"lr=0.1 and lr=1e-1 are the same run"):
        puna.sweep(tiny_toml, {"optim.lr": ["0.1", "1e-1"]}, data=tiny_data, run=run)
    with pytest.raises(ConfigError, match=r"'model.vocab_size' cannot have several values"):
        puna.sweep(tiny_toml, {"model.vocab_size": [512, 600]}, data=tiny_data, run=run)
    with pytest.raises(DataError, match="no finished data build"):
        puna.sweep(tiny_toml, {"seed": [1, 2]}, data=tmp_path / "no", run=run)
    with pytest.raises(TrainError, match="is not what names of runs can begin with"):
        puna.sweep(tiny_toml, {"seed": [1, 2]}, data=tiny_data, run=".")
    (tmp_path / "s-seed.html").write_text("mine")
    with pytest.raises(DataError, match="is not a comparison"):
        puna.sweep(tiny_toml, {"seed": [1, 2]}, data=tiny_data, run=run)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainError, match="torchrun") as raised:
        puna.sweep(tiny_toml, {"optim.lr": ["0.1", "0.2"]}, data=tiny_data, run=run)
    assert f"puna train {tiny_toml} optim.lr=0.1 --run-dir {run}-lr=0.1" in raised.value.hint
    assert trained == []
    assert [path.name for path in tmp_path.iterdir()] == ["s-seed.html"]


@pytest.mark.usefixtures("trained")
def test_where_the_page_cannot_be_drawn_the_figures_are_there(
    tiny_toml: Path, tiny_data: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    monkeypatch.setitem(sys.modules, "plotly", None)
    made = puna.sweep(tiny_toml, {"seed": [1, 2]}, data=tiny_data, run=tmp_path / "s")
    assert made.comparison is not None
    assert made.page is None
    assert "s-seed.html: is not written" in capsys.readouterr().err


RUN = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
print("at work", flush=True)
print("saved upon", int(signal.sigwait({signal.SIGINT, signal.SIGTERM})), flush=True)
"""
SWEEP = """
import sys
from puna.api.sweep import _train
from puna.core.errors import Interrupted
try:
    _train([sys.executable, "-c", sys.argv[1]])
except Interrupted as ended:
    print("ended with", ended.exit_code, flush=True)
"""


@pytest.mark.parametrize(
    ("send", "number", "saved_upon"),
    [
        (os.killpg, signal.SIGINT, signal.SIGINT),
        (os.kill, signal.SIGINT, signal.SIGTERM),
        (os.kill, signal.SIGTERM, signal.SIGTERM),
    ],
    ids=["Ctrl-C at a terminal", "SIGINT to the sweep", "SIGTERM to the sweep"],
)
def test_a_sweep_that_is_ended_waits_until_its_run_has_saved(
    send: Callable[[int, int], None], number: int, saved_upon: int
):
    command = [sys.executable, "-c", SWEEP, RUN]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        send(process.pid, number)
        assert process.stdout.read().splitlines() == [f"saved upon {int(saved_upon)}", f"ended with {128 + number}"]
