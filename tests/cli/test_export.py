"""The export's options as the command line has them: made from the table of formats."""

import re

from typer.testing import CliRunner

from puna.cli.app import app
from puna.formats.registry import BUILT_IN


def test_help_lists_every_format_that_is_written_and_every_option() -> None:
    shown = CliRunner().invoke(app, ["export", "--help"], env={"COLUMNS": "200"}).output
    for form in BUILT_IN:
        listed = re.search(rf"[<|]{form.name}[|>]", shown)
        assert (listed is not None) == (form.writer is not None), form.name
        for option in form.options:
            assert f"{option.flag} " in shown
            assert f"{form.name}: " in shown


def test_a_format_that_is_not_written_is_refused_with_those_that_are() -> None:
    refused = CliRunner().invoke(app, ["export", "somewhere", "--to", "puna"], env={"COLUMNS": "200"})
    assert refused.exit_code == 2
    assert "'hf', 'easylm', 'gguf', 'llama', 'llama2c', 'openlm'" in refused.output
