"""`puna bench infer` prints a table, or one line of JSON."""

import json

import pytest
from typer.testing import CliRunner

from puna.cli.app import app
from puna.core.errors import GenerateError
from puna.core.layout import RunDir
from puna.infer import measure

OPTIONS = ["--batch", "1,2", "--context", "4", "--tokens", "3"]


@pytest.fixture(autouse=True)
def small_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "_READ_BYTES", 1 << 22)
    monkeypatch.setattr(measure, "_SIDE", 64)


def test_the_table_has_a_line_for_every_pair_below_two_of_heads(tiny_run: RunDir) -> None:
    done = CliRunner().invoke(app, ["bench", "infer", str(tiny_run), *OPTIONS])
    assert done.exit_code == 0, done.output
    about, reads, machine, empty, *table = done.stdout.splitlines()
    assert about.startswith(f"{tiny_run}: ")
    assert about.endswith(("thread", "threads"))
    assert reads.startswith("a step reads ")
    assert "GB/s of a plain read" in machine
    assert empty == ""
    assert [line.split()[:2] for line in table] == [["requests", "prompt"], ["at", "once"], ["1", "4"], ["2", "4"]]
    assert len({len(line) for line in table}) == 1


def test_json_is_one_line_on_stdout(tiny_run: RunDir) -> None:
    done = CliRunner().invoke(app, ["bench", "infer", str(tiny_run), *OPTIONS, "--threads", "1", "--json"])
    assert done.exit_code == 0, done.output
    (line,) = done.stdout.splitlines()
    record = json.loads(line)
    assert record["threads"] == 1
    assert [(point["batch"], point["context"]) for point in record["points"]] == [(1, 4), (2, 4)]


@pytest.mark.parametrize("option", ["--batch", "--context"])
def test_a_list_that_is_none_is_named(tiny_run: RunDir, option: str) -> None:
    done = CliRunner().invoke(app, ["bench", "infer", str(tiny_run), option, "1;8"])
    assert isinstance(done.exception, GenerateError)
    assert str(done.exception) == f"{option} '1;8': expected whole numbers with commas, such as 1,8,32"
