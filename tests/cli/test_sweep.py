"""`puna train` with several values: what it prints where, and how it ends."""

import sys
from pathlib import Path

import pytest
from compared_runs import compared_run
from typer.testing import CliRunner

from puna.api import sweep as module
from puna.cli.app import app
from puna.config.load import load_recipe
from puna.core.errors import ConfigError
from puna.core.layout import DataDir


def test_a_sweep_ends_in_a_comparison_and_says_what_failed(
    tiny_toml: Path, tiny_data: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def train(command: list[str]) -> int:
        run = Path(command[command.index("--run-dir") + 1])
        fails = "optim.lr=1e30" in command
        values = [word for word in command[5:] if word.startswith("optim.")]
        compared_run(run, load_recipe(command[4], values).recipe, steps=2 if fails else 24)
        return 2 if fails else 0

    monkeypatch.setattr(module, "_train", train)
    arguments = ["--data-dir", str(tiny_data), "--run-dir", str(tmp_path / "s")]
    result = CliRunner().invoke(app, ["train", str(tiny_toml), "optim.lr=1e-3,1e30,2e-3", *arguments])
    assert "3 runs, one after the other: optim.lr (3 values)" in result.stderr
    assert "run 2 of 3: " in result.stderr
    assert "s-lr=1e30: ended with exit code 2; 1 more follows" in " ".join(result.stderr.split())
    assert "s-lr=2e-3" in result.stdout
    assert "s-lr=1e30 is not finished: step 2 of 24." in result.stdout
    assert isinstance(result.exception, Exception)
    assert "1 of 3 runs ended with an error" in str(result.exception)


def test_show_prints_the_recipe_of_every_run_and_trains_none(tiny_toml: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    result = CliRunner().invoke(app, ["train", str(tiny_toml), "optim.lr=1e-3,2e-3", "--show"])
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert [line for line in lines if line.startswith(("# ", "optim.lr "))] == [
        "# lr=1e-3", "optim.lr = 0.001 # command line", "# lr=2e-3", "optim.lr = 0.002 # command line",
    ]  # fmt: skip


@pytest.mark.parametrize("options", [["--extend", "2x"], ["--branch-from", "runs/demo@5"], ["--schedule", "linear"]])
def test_what_goes_on_with_one_run_takes_one_value(
    options: list[str], tiny_toml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["train", str(tiny_toml), "optim.lr=1e-3,2e-3", *options])
    assert isinstance(result.exception, ConfigError)
    assert "several values of a key are new runs" in result.exception.message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["plan"], ["run"], ["data", "build"], ["tune"]])
def test_other_commands_say_which_one_takes_several_values(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, [*command, "demo", "optim.lr=1e-3,2e-3", "seed=1,2"])
    assert isinstance(result.exception, ConfigError)
    assert result.exception.problems == [
        "command line: 'optim.lr' has 2 values, this command takes one",
        "command line: 'seed' has 2 values, this command takes one",
    ]
    assert "`puna train` makes a run of each" in result.exception.hint
    assert list(tmp_path.iterdir()) == []
