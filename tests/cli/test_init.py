"""`puna init` on the command line: what was found on stderr, the recipe's file on stdout."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from puna.api import init as made_by
from puna.cli.app import app
from puna.config.load import load_recipe


def test_summary_says_what_was_found_and_the_next_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made_by, "_machine", lambda: ("2 CPU cores", 2e11, "fp32", 4096))
    for number in range(4):
        (tmp_path / f"{number}.txt").write_text(f"Some words for page {number} of a text. " * 99)
    (tmp_path / "table.csv").write_text("a,b\n")
    out = tmp_path / "mine.toml"
    result = CliRunner().invoke(app, ["init", str(tmp_path), "--out", str(out)])
    assert result.exit_code == 0
    assert result.stdout == f"{out}\n"
    for words in ("text: text, 4 files, 4 documents", "not read: 1 x tables of comma", f"`puna run {out}`", "epochs"):
        assert words in result.stderr
    assert load_recipe(str(out)).recipe.name == "mine"
