"""`puna evaluate`: what it prints for people and for programs, and what it refuses."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import Result
from own_tasks import write_tasks
from typer.testing import CliRunner

from puna.api.benchmarks import TaskEntry, list_tasks
from puna.cli.app import app
from puna.core.errors import EvaluateError, UserError
from puna.core.layout import EvaluationDir, RunDir
from puna.core.schema.evaluation import read_results


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    if isinstance(result.exception, UserError):
        raise result.exception
    return result


def test_figures_are_a_table_on_standard_output_and_json_has_them_all(tiny_run: RunDir, tmp_path: Path) -> None:
    tasks, out = write_tasks(tmp_path / "mine"), tmp_path / "out"
    lines = run(tiny_run.root, "--tasks", tasks, "--out", out, "--limit", "3").stdout.splitlines()
    rows = [line.split()[:2] for line in lines if line.strip().startswith("own/")]
    assert rows == [
        ["own/letters@1", "acc_norm"], ["own/letters@1", "acc"], ["own/next@0", "acc"],
        ["own/answers@0", "exact_match"],
    ]  # fmt: skip
    printed = json.loads(run(tiny_run.root, "--tasks", tasks, "--out", out, "--limit", "3", "--json").stdout)
    assert printed == read_results(EvaluationDir(out).results).as_dict()


def test_a_list_has_a_line_for_each_task_of_the_names() -> None:
    lines = run("--list", "harness/hellaswag", "core").stdout.splitlines()
    assert lines[0].split()[0] == "harness/hellaswag@0"
    assert all(line.split()[0].partition("/")[0] in ("harness", "core") for line in lines)
    assert all(line.split()[1] in ("here", "missing") for line in lines)


@pytest.mark.parametrize("verb", ["--list", "--fetch"])
def test_a_list_and_a_fetch_take_tasks_and_suites_as_an_evaluation_does(
    verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def note(names: list[str], **_: object) -> list[TaskEntry]:
        asked.append(names)
        return list_tasks(["harness/piqa"])

    monkeypatch.setattr(
        "puna.api.benchmarks.list_tasks" if verb == "--list" else "puna.api.benchmarks.fetch_data", note
    )
    run(verb, "foundry", "--suite", "openlm", "--tasks", "harness/piqa,llama/mmlu@5")
    run(verb)
    assert asked == [["foundry", "openlm", "harness/piqa", "llama/mmlu@5"], []]


def test_two_evaluations_are_compared(tiny_run: RunDir, tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "mine")
    for name, moment in (("a", "@last"), ("b", "@step-20")):
        run(f"{tiny_run}{moment}", "--tasks", tasks, "--out", tmp_path / name)
    lines = run("--compare", tmp_path / "a", tmp_path / "b").stdout.splitlines()
    assert sum(line.startswith("own/") for line in lines) == 4


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "nothing is asked for"),
        (["--compare"], "--compare: expected two directories of evaluations, got 1"),
        (["another", "--suite", "llama"], "expected one model, got 2"),
        (["--suite", "lama"], "'lama' is not a suite\n  hint: did you mean llama"),
        (["--suite", "llama", "--against", "LLaMA 8B"], "no table has results of 'LLaMA 8B'"),
        (["--tasks", "harness/hellaswag", "--scorer", "none"], "'none' is not a scorer"),
        (["--tasks", "harness/helaswag"], "did you mean harness/hellaswag"),
        (["--tasks", "none.toml"], "none.toml: no such file"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(tiny_run: RunDir, arguments: list[str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        run(tiny_run.root, *arguments)


def test_every_saved_step_is_a_line(tiny_run: RunDir, tmp_path: Path) -> None:
    shutil.copytree(tiny_run, tmp_path / "run")
    tasks = write_tasks(tmp_path / "mine")
    lines = run(tmp_path / "run", "--tasks", tasks, "--limit", "3", "--all-checkpoints").stdout.splitlines()
    steps = [line.split("  ")[2] for line in lines if line.startswith("own/letters@1")]
    assert steps == ["step 15", "step 20", "step 24"]
    printed = run(tmp_path / "run", "--tasks", tasks, "--limit", "3", "--all-checkpoints", "--json").stdout
    assert [json.loads(line)["model"]["step"] for line in printed.splitlines()] == [15, 20, 24]
    with pytest.raises(EvaluateError, match="--name is for one evaluation"):
        run(tmp_path / "run", "--tasks", tasks, "--all-checkpoints", "--name", "mine")
