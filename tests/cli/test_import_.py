"""`puna import`, `puna inspect` and `puna export` as a user types them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from puna.core.layout import RunDir


def puna(*arguments: Any, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "puna", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)


@pytest.mark.e2e
def test_a_run_goes_out_and_comes_back_in_by_three_commands(tiny_run: RunDir, tmp_path: Path) -> None:
    out = puna("export", tiny_run.root, "--to", "gguf", "--type", "Q8_0", "--out", tmp_path / "q8", cwd=tmp_path)
    assert out.returncode == 0, out.stderr
    assert "quantized to Q8_0" in out.stderr
    assert "perplexity" in out.stderr
    assert out.stdout == ""

    seen = puna("inspect", tmp_path / "q8", cwd=tmp_path)
    assert seen.returncode == 0, seen.stderr
    assert seen.stdout.startswith("format         GGUF file")
    assert "2 layers, width 32, 2 heads of 16, 1 key heads" in seen.stdout

    as_json = json.loads(puna("inspect", tmp_path / "q8", "--json", cwd=tmp_path).stdout)
    assert as_json["format"] == "gguf"
    assert as_json["tensors"]["layers.0.attention.wq.weight"]["dtype"] == "Q8_0"
    listed = puna("inspect", tiny_run.root, "--tensors", cwd=tmp_path).stdout
    assert "layers.1.feed_forward.w2.weight" in listed

    back = puna("import", tmp_path / "q8", cwd=tmp_path)
    assert back.returncode == 0, back.stderr
    assert (tmp_path / "models" / "q8" / "model.toml").is_file()
    said = puna("generate", "models/q8", "The people", "--max-tokens", "4", "--temperature", "0", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("The people")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["inspect", "nothing"], "nothing: is not there"),
        (["import", "nothing"], "nothing: is not there"),
        (["import", "file"], "is not in a format that Puna reads"),
        (["import", "file", "--from", "onnx"], "'onnx' is not a format"),
        (["inspect", "file", "--from", "gguf"], "file"),
        (["export", "nothing", "--to", "hf"], "holds no Puna model"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(tmp_path: Path, command: list[str], said: str) -> None:
    (tmp_path / "file").write_bytes(b"\x00" * 100)
    done = puna(*command, cwd=tmp_path)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
