"""JSON that any terminal can show, and that is JSON still."""

import io
import json

import pytest

from puna.cli.json_output import json_line

VALUE = {"text": "caf\u00e9 \u2014 \U0001f600", "name": "\udcff"}


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "UTF8", "cp1252"])
def test_a_line_survives_the_encoding_of_stdout(monkeypatch: pytest.MonkeyPatch, encoding: str):
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding=encoding, errors="backslashreplace"))
    print(json_line(VALUE), flush=True)
    assert json.loads(raw.getvalue().decode(encoding)) == VALUE
    assert ("\u00e9" in raw.getvalue().decode(encoding)) == encoding.lower().startswith("utf")
