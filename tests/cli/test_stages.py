"""The whole road by its files: skipped where finished, continued where killed, the same bytes in the end."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from puna.config.recipe import Recipe
from puna.core.files import sha256_file
from puna.core.layout import DataDir, RunDir


def _hashes(root: Path, *suffixes: str) -> dict[str, str]:
    """Hashes of what a stage computed; records hold times and commands."""
    return {
        str(path.relative_to(root)): sha256_file(path)
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix in suffixes
    }


def test_data_build_killed_anywhere_and_run_again_gives_the_same_bytes(
    tiny_toml: Path, tiny_data: DataDir, tmp_path: Path
):
    out = tmp_path / "d"
    command = [sys.executable, "-m", "puna", "data", "build", str(tiny_toml), "--data-dir", str(out)]
    for delay in (0.7, 1.1, 1.5, 2.0, 2.6, 3.4):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
        finished = [path for path in out.rglob("*") if ".tmp-" not in str(path)]
        # What bears a final name is whole: a stage's directory has its record or manifest.
        for name in ("documents", "tokenizer"):
            assert (out / name) not in finished or (out / name / "record.json") in finished
    assert subprocess.run(command, stderr=subprocess.DEVNULL, timeout=60, check=False).returncode == 0
    suffixes = (".bin", ".jsonl", ".zst", ".model", ".md", ".toml")
    assert _hashes(out, *suffixes) == _hashes(tiny_data.root, *suffixes)
    assert not list(out.rglob(".tmp-*"))


@pytest.mark.e2e
def test_whole_road_interrupted_and_called_again(tiny: Recipe, tiny_toml: Path, tmp_path: Path):
    data, run = DataDir(tmp_path / "data"), RunDir(tmp_path / "run")
    command = [
        sys.executable,
        "-m",
        "puna",
        "run",
        str(tiny_toml),
        "--data-dir",
        str(data.root),
        "--run-dir",
        str(run.root),
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(run.checkpoints.glob("step-*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 128 + signal.SIGTERM
    assert not run.record.exists()
    second = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert second.returncode == 0, second.stderr
    assert "resumed from" in second.stderr
    assert run.report.stat().st_size > 1_000_000
    assert (run.exports / "hf" / "config.json").exists()
    before = _hashes(tmp_path, ".safetensors", ".bin", ".jsonl")
    third = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert third.returncode == 0
    for skipped in ("token shards built already", "trained already", "exported already"):
        assert skipped in third.stderr
    assert _hashes(tmp_path, ".safetensors", ".bin", ".jsonl") == before
