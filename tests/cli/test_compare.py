"""`puna compare`: a comparison for people on standard output and as a page, or one JSON object."""

import json
from pathlib import Path

import pytest
from compared_runs import compared_run
from typer.testing import CliRunner

from puna.cli.app import app
from puna.config.recipe import Recipe


@pytest.fixture
def runs(tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    return [str(compared_run(Path("runs") / name, tiny)) for name in ("one", "two")]


def test_it_prints_the_figures_and_writes_the_page(runs: list[str], tmp_path: Path):
    result = CliRunner().invoke(app, ["compare", *runs])
    assert result.exit_code == 0
    assert "3.0500  2.8000  3.8000" in result.stdout
    assert result.stderr == "comparison: comparison.html\n"
    assert "2 runs compared" in (tmp_path / "comparison.html").read_text()


def test_json_is_one_object_and_writes_no_page_unless_one_is_named(runs: list[str], tmp_path: Path):
    result = CliRunner().invoke(app, ["compare", *runs, "--json"])
    assert [run["name"] for run in json.loads(result.stdout)["runs"]] == ["one", "two"]
    assert not (tmp_path / "comparison.html").exists()
    assert CliRunner().invoke(app, ["compare", *runs, "--json", "--out", "page.html"]).exit_code == 0
    assert (tmp_path / "page.html").exists()
