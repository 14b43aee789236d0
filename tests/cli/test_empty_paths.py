"""Paths that a command cannot take: empty ones, which a shell makes of variables that are not set, and others."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

from puna.cli.app import app
from puna.cli.empty_paths import refuse_empty_paths
from puna.core.errors import UserError
from puna.core.layout import DataDir, RunDir

ROOT: Any = typer.main.get_group(app)


def commands(of: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with the words that call it."""
    if not isinstance(of, TyperGroup):
        yield words, of
        return
    for name, command in of.commands.items():
        yield from commands(command, (*words, name))


def paths(command: Any) -> Iterator[Any]:
    """The parameters of a command that are annotated as paths."""
    kinds = inspect.signature(command.callback).parameters
    for parameter in command.params:
        kind = kinds[parameter.name].annotation if parameter.name in kinds else None
        if "Path" in str(kind) or Path in get_args(kind):
            yield parameter


COMMANDS = dict(commands(ROOT))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_path_of_every_command_refuses_to_be_empty(words: tuple[str, ...]) -> None:
    for parameter in paths(COMMANDS[words]):
        given = [[parameter.opts[0], ""], [f"{parameter.opts[0]}="]]
        for value in given if parameter.param_type_name == "option" else [[""]]:
            with pytest.raises(UserError, match="the path is empty"):
                refuse_empty_paths(ROOT.commands[words[0]], [*words[1:], *value])


@pytest.mark.parametrize(
    "words",
    [
        ["generate", "model", ""],
        ["generate", "model", "--stop", "", "a"],
        ["data", "build", "demo", "--setup", "", "--partition="],
        ["train", "demo", "optim.lr="],
        ["train", "--run-dir"],
        ["generate", "model", "--", "--prompts", ""],
        ["train", "--nothing", "", "demo"],
    ],
)
def test_values_of_other_kinds_may_be_empty(words: list[str]) -> None:
    refuse_empty_paths(ROOT.commands[words[0]], words[1:])


def test_nothing_is_written_where_the_run_has_an_empty_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["train", "demo", "--run-dir", ""])
    assert (
        str(result.exception)
        == '--run-dir "": the path is empty\n  hint: is it a variable of the shell that is not set?'
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no such file system")
@pytest.mark.parametrize(
    "words",
    [
        ["train", "TOML", "--data-dir", "DATA", "--run-dir", "BAD"],
        ["train", "TOML", "--data-dir", "BAD", "--run-dir", "new"],
        ["data", "build", "TOML", "--data-dir", "BAD"],
        ["tokenizer", "train", "TOML", "--data-dir", "BAD"],
        ["run", "TOML", "--data-dir", "BAD"],
        ["export", "RUN", "--to", "hf", "--quick", "--out", "BAD"],
        ["export", "RUN", "--to", "hf", "--text", "BAD", "--out", "new"],
        ["export", "BAD", "--to", "hf"],
        ["import", "RUN/model", "--out", "BAD"],
        ["import", "BAD", "--out", "new"],
        ["inspect", "BAD"],
        ["generate", "BAD", "x"],
        ["generate", "RUN", "--prompts", "BAD"],
        ["generate", "RUN", "x", "--tokenizer", "BAD"],
        ["generate", "RUN", "x", "--draft", "BAD"],
        ["generate", "RUN", "x", "--adapter", "BAD"],
        ["perplexity", "RUN", "--text", "BAD"],
        ["report", "BAD"],
        ["compare", "RUN", "RUN", "--out", "BAD"],
        ["init", "BAD"],
        ["init", "DATA", "--name", "a", "--out", "BAD.toml"],
        ["plan", "BAD.toml"],
        ["compare", "RUN", "BAD"],
        ["train", "TOML", "seed=1,2", "--data-dir", "BAD", "--run-dir", "new"],
        ["data", "inspect", "BAD"],
        ["data", "trace", "BAD", "--step", "1"],
        ["data", "trace", "RUN", "--step", "1", "--data-dir", "BAD"],
        ["verify-resume", "BAD"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("bad", ["/proc/none/inner", "/dev/null/inner", "x" * 300])
def test_a_path_that_cannot_be_is_a_sentence_and_leaves_nothing(
    words: list[str], bad: str, tiny_toml: Path, tiny_data: DataDir, tiny_run: RunDir, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("puna.plan.target.sgemm_rate", lambda: 1e11)  # which takes seconds, and decides nothing here
    places = {
        "TOML": tiny_toml,
        "DATA": tiny_data,
        "RUN": tiny_run,
        "RUN/model": tiny_run.model,
        "BAD": bad,
        "BAD.toml": f"{bad}.toml",
    }
    result = CliRunner().invoke(app, [str(places.get(word, word)) for word in words])
    assert isinstance(result.exception, UserError), result.exception
    assert list(tmp_path.iterdir()) == []
