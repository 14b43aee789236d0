"""`puna evaluate`: what it prints for people and for programs, and what it refuses."""

import json
from pathlib import Path

import pytest
from click.testing import Result
from own_tasks import write_tasks
from typer.testing import CliRunner

from puna.cli.app import app
from puna.core.errors import UserError
from puna.core.layout import EvaluationDir, RunDir
from puna.core.schema.evaluation import read_results


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    if isinstance(result.exception, UserError):
        raise result.exception
    return result


def test_figures_are_lines_on_standard_output_and_json_has_them_all(tiny_run: RunDir, tmp_path: Path) -> None:
    tasks, out = write_tasks(tmp_path / "mine"), tmp_path / "out"
    lines = run(tiny_run.root, "--tasks", tasks, "--out", out, "--limit", "3").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["own/letters@1", "acc", "own/next@0", "own/answers@0"]
    assert lines[0].endswith("3 of 12 documents")
    printed = json.loads(run(tiny_run.root, "--tasks", tasks, "--out", out, "--limit", "3", "--json").stdout)
    assert printed == read_results(EvaluationDir(out).results).as_dict()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "no task is named"),
        (["--tasks", "harness/helaswag"], "did you mean harness/hellaswag"),
        (["--tasks", "none.toml"], "none.toml: no such file"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(tiny_run: RunDir, arguments: list[str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        run(tiny_run.root, *arguments)
