"""`puna data index`, `puna data find` and `puna trace`, where torch is not installed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from puna.cli.search import _print_place, _when
from puna.core.layout import DataDir, RunDir
from puna.search.found import Place
from puna.search.reads import reads_of
from puna.tokenizer.load import load_tokenizer


def puna(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command, where torch is not installed."""
    code = "import sys; sys.modules['torch'] = None; import puna.cli; puna.cli.main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def assert_sentence(result: subprocess.CompletedProcess[str], *parts: str) -> None:
    """A user's error: exit code 2, nothing on stdout, and a sentence that says it."""
    assert (result.returncode, result.stdout) == (2, ""), result.stderr
    assert "Traceback" not in result.stderr
    for part in parts:
        assert part in result.stderr


@pytest.fixture(scope="module")
def data(tiny_data: DataDir, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny build, indexed by the command."""
    out = tmp_path_factory.mktemp("data") / "tiny"
    shutil.copytree(tiny_data.root, out)
    assert_sentence(puna("data", "find", out, "the"), "has no index of shard 0 of", f"run `puna data index {out}`")
    result = puna("data", "index", out)
    assert (result.returncode, result.stdout) == (0, "")
    assert "bytes per token" in result.stderr
    return out


def test_a_text_is_found_with_its_documents(data: Path, tmp_path: Path):
    plain = puna("data", "find", data, "the", "--limit", "2")
    assert plain.returncode == 0, plain.stderr
    as_json = json.loads(puna("data", "find", data, "the", "--limit", "2", "--json").stdout)
    first = as_json["places"][0]
    counted = plain.stdout.splitlines()[0]
    assert counted == f"{as_json['counts']['train'][first['source']]} in {first['source']}"
    assert f"{first['source']}: {first['id']}; {first['origin']}" in plain.stdout
    assert "[the]" in plain.stdout
    assert len(as_json["places"]) == 2
    file = tmp_path / "text.txt"
    file.write_text("the\n")
    assert puna("data", "find", data, "--file", file, "--limit", "2").stdout == plain.stdout
    file.write_bytes(b"the\r\nand")
    assert puna("data", "find", data, "--file", file).stdout == "not found\n"
    folded = json.loads(puna("data", "find", data, "THE", "--ignore-case", "--json").stdout)
    assert folded["counts"]["train"] != as_json["counts"]["train"]
    assert puna("data", "find", data, "no such words are here").stdout == "not found\n"


def test_what_is_asked_for_wrongly_ends_in_a_sentence(data: Path, tmp_path: Path):
    assert_sentence(puna("data", "find", data), "there is no text to look for", "give TEXT or --file")
    assert_sentence(puna("data", "find", data, "a", "--ids", "5"), "named more than once")
    assert_sentence(puna("data", "find", data, "--ids", "5,x"), "--ids 5,x: expects whole numbers")
    assert_sentence(puna("data", "find", data, ""), "there is no text to look for")
    assert_sentence(puna("data", "find", tmp_path, "a"), "holds no token shards")
    assert_sentence(puna("trace", data, "a"), "holds no token shards")


def test_words_are_traced_to_documents_and_steps(data: Path, tiny_run: RunDir):
    reads = reads_of(tiny_run, DataDir(data))
    ids = reads.loader.batch(3 * reads.rows, 1)[0].tolist()
    text = load_tokenizer(data / "tokenizer").decode(ids)
    plain = puna("trace", tiny_run.root, text, "--data-dir", data, "--words", "1")
    assert plain.returncode == 0, plain.stderr
    traced = json.loads(puna("trace", tiny_run.root, text, "--data-dir", data, "--words", "1", "--json").stdout)
    assert traced["text"] == text
    steps = [step for span in traced["spans"] for one in span["sources"] for step in one["steps"]]
    assert 4 in steps
    # The way back: the step has read the document.
    span = next(one for span in traced["spans"] for one in span["sources"] if one["steps"])
    back = puna("data", "trace", tiny_run.root, "--step", str(span["steps"][0]), "--data-dir", data)
    assert span["place"]["id"] in back.stdout
    assert "read at step" in plain.stdout or "times, at steps" in plain.stdout
    nothing = puna("trace", tiny_run.root, "zzzz qqqq xxxx", "--data-dir", data)
    assert nothing.stdout == "no span of 3 words or more is in the training data\n"


def test_what_would_steer_a_terminal_is_escaped(capsys: pytest.CaptureFixture[str]):
    place = Place("prose", "train", "1\x1b.txt", "o", "", "", "", 0, "evil \x1b[2J", "needle", "\x07", 1)
    _print_place(place, [3])
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "\x07" not in printed
    assert "[needle]" in printed
    assert _when([], 20) == "not read after step 20, up to which another run made this one"
