"""`puna perplexity`: figures for people and for programs."""

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

import puna
from puna.cli.app import app
from puna.core.errors import UserError
from puna.core.layout import RunDir


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(app, ["perplexity", *map(str, arguments)])
    if isinstance(result.exception, UserError):
        raise result.exception
    return result


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfThe people\r\nof the law\n")
    return path


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "b.jsonl"
    path.write_text('{"text": "import json", "id": 3}\n\n{"text": "law"}\n')
    return path


def test_figures_are_lines_on_standard_output(tiny_run: RunDir, text: Path) -> None:
    result = run(tiny_run.root, "--text", text)
    assert result.stdout == str(puna.perplexity(tiny_run, "The people\r\nof the law\n")) + "\n"
    assert result.stderr == ""


def test_json_has_the_figures_of_each_text_and_token(tiny_run: RunDir, text: Path, lines: Path) -> None:
    found = json.loads(
        run(tiny_run.root, "--text", text, "--text", lines, "--stride", "5", "--json", "--tokens").stdout
    )
    expected = puna.perplexity(tiny_run, ["The people\r\nof the law\n", "import json", "law"], stride=5, tokens=True)
    texts = found.pop("texts")
    assert found == expected.as_dict()
    assert [(one["file"], one.get("line")) for one in texts] == [(str(text), None), (str(lines), 1), (str(lines), 3)]
    for one, loss in zip(texts, expected.texts, strict=True):
        assert [(token["id"], token["logprob"]) for token in one["token_logprobs"]] == [
            *zip(loss.ids, loss.logprobs, strict=True)
        ]
        assert {name: one[name] for name in loss.as_dict()} == loss.as_dict()
    assert "".join(token["token"] for token in texts[2]["token_logprobs"]).lstrip("▁") == "law"
    assert "token_logprobs" not in run(tiny_run.root, "--text", lines, "--json").stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--text", "nowhere.txt"], "nowhere.txt: cannot be read: No such file"),
        (["--text", "a.txt", "--tokens"], "--tokens: is shown with --json only"),
        (["--text", "b.jsonl", "--field", "id"], "line 1: 'id' is 3, expected a text"),
        (["--text", "b.jsonl", "--field", "body"], "line 1: has no field 'body'; its fields are 'text', 'id'"),
        (["--text", "latin.txt"], "latin.txt: is not UTF-8 text"),
        (["--text", "empty.txt"], "there is no text to score"),
    ],
)
def test_what_cannot_be_scored_is_a_sentence(
    tiny_run: RunDir, text: Path, lines: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
) -> None:
    monkeypatch.chdir(text.parent)
    Path("latin.txt").write_bytes("é".encode("latin-1"))
    Path("empty.txt").write_text("")
    with pytest.raises(UserError, match=sentence):
        run(tiny_run.root, *arguments)
