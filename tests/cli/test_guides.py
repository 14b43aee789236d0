"""Options that say what a text is to be, as a user gives them."""

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from puna.cli.app import app
from puna.cli.guides import read_guide
from puna.core.errors import UserError
from puna.core.layout import RunDir
from puna.infer.guides import Guide

SCHEMA = {"type": "array", "items": {"type": "integer", "minimum": 7, "maximum": 99}, "minItems": 1, "maxItems": 2}


def texts(run: RunDir, *options: str) -> list[str]:
    """What a model that has learned next to nothing writes."""
    result = CliRunner().invoke(
        app,
        ["generate", str(run.root), "The", "--json", "--n", "4", "--max-tokens", "60", "--temperature", "1", *options],
    )
    if result.exception:
        raise result.exception
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    whole = [line["text"] for line in lines if line["finish"] == "stop"]
    assert len(lines) == 4
    assert whole
    return whole


def test_texts_are_json_of_the_schema(tiny_run: RunDir, tmp_path: Path) -> None:
    (tmp_path / "person.json").write_text(json.dumps(SCHEMA), encoding="utf-8")
    for text in texts(tiny_run, "--json-schema", str(tmp_path / "person.json")):
        Draft202012Validator(SCHEMA).validate(json.loads(text))


def test_texts_match_the_regular_expression(tiny_run: RunDir) -> None:
    assert all(re.fullmatch(r" [A-Z][a-z]{2,9}\.", text) for text in texts(tiny_run, "--regex", r" [A-Z][a-z]{2,9}\."))


def test_texts_are_of_the_choice(tiny_run: RunDir) -> None:
    assert set(texts(tiny_run, "--choice", " yes", "--choice", " no")) <= {" yes", " no"}


def test_the_order_of_properties_is_the_files(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"properties": {"b": true, "a": true}}', encoding="utf-8")
    assert read_guide(tmp_path / "a.json", None, None) == Guide.json_schema('{"properties": {"b": true, "a": true}}')
    assert read_guide(None, None, []) is None


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--regex", "a", "--choice", "b"], "--regex and --choice are both given, but a text can follow one of them"),
        (["--choice", ""], "--choice: '' is a choice, but must be a text of at least one character"),
        (["--json-schema", "nowhere.json"], "nowhere.json: cannot be read: No such file or directory"),
        (["--json-schema", "bad.json"], "bad.json: is not JSON: Expecting value: line 1 column 7"),
        (
            ["--json-schema", "word.json"],
            "word.json: properties.a.uniqueItems: the keyword uniqueItems is not supported",
        ),
        (["--regex", "a(?=b)"], "look-around"),
    ],
)
def test_what_cannot_be_followed_is_a_sentence(
    tiny_run: RunDir, options: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.json").write_text('{"a": }', encoding="utf-8")
    Path("word.json").write_text('{"properties": {"a": {"uniqueItems": true}}}', encoding="utf-8")
    with pytest.raises(UserError) as error:
        texts(tiny_run, *options)
    assert sentence in error.value.message
