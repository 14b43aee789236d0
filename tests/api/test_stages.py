"""All stages by their files: skipped if finished, continued if killed, the same bytes in the end."""

import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tuned import RECIPE, write_base, write_talks

import puna
from puna.api import stages
from puna.api.stages import _learn_to_chat, next_command
from puna.config.load import load_recipe
from puna.config.recipe import Recipe
from puna.core.errors import DataError
from puna.core.files import sha256_file
from puna.core.layout import DataDir, RunDir
from puna.core.metrics import read_metrics
from puna.shards.shards import TokenShards


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
    seen = set()
    for reached in ("work", "work/read", "work/keys", "documents", "tokenizer", "work/tokenize", "shards"):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while not (out / reached).exists() and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=300)
        # What bears a final name is whole: a stage's directory has its record or manifest.
        for name, last in (("documents", "record.json"), ("tokenizer", "record.json"), ("shards/*/*", "manifest.json")):
            for path in out.glob(name):
                if ".tmp-" not in str(path):
                    assert (path / last).is_file()
                    seen.add(name)
    assert seen >= {"documents", "tokenizer"}
    assert subprocess.run(command, stderr=subprocess.DEVNULL, timeout=300, check=False).returncode == 0
    suffixes = (".bin", ".jsonl", ".zst", ".model", ".md", ".toml")
    assert _hashes(out, *suffixes) == _hashes(tiny_data.root, *suffixes)
    assert not list(out.rglob(".tmp-*"))


def test_byte_level_recipe_goes_from_data_to_text(tiny_toml: Path, tmp_path: Path):
    toml, data, run = tmp_path / "bytes.toml", DataDir(tmp_path / "data"), RunDir(tmp_path / "run")
    toml.write_text(
        tiny_toml.read_text().replace("[train]", '[tokenizer]\nkind = "byte-bpe"\n\n[train]\ndocument_mask = true')
    )
    recipe = load_recipe(str(toml)).recipe
    assert puna.build_data(recipe, data) == data
    assert puna.train(recipe, data, run) == run
    assert sorted(path.name for path in data.tokenizer.iterdir()) == ["record.json", "tokenizer.json"]
    assert sha256_file(run.model / "tokenizer.json") == sha256_file(data.tokenizer / "tokenizer.json")
    model = puna.load(run)
    tokenizer = model.tokenizer
    assert (tokenizer.kind, tokenizer.bos_id, tokenizer.eos_id, tokenizer.add_bos) == ("byte-bpe", 0, 0, True)
    shards = TokenShards.open(data.shards / "prose" / "train")
    ids = shards.read(0, shards.tokens)
    assert int((ids == 0).sum()) == shards.documents
    # The last validation is on other text than those before it.
    validations = [line for line in read_metrics(run.metrics) if line["kind"] == "validation" and not line["final"]]
    assert 0 < validations[-1]["bits_per_byte"]["prose"] < validations[0]["bits_per_byte"]["prose"] < 8
    assert model.generate("The people", max_tokens=8)
    assert model.generate("", max_tokens=8)


def test_exports_lie_in_the_run_or_in_the_model_that_was_named(tiny_run: RunDir, tmp_path: Path):
    run, imported = RunDir(tmp_path / "runs" / "r"), tmp_path / "models" / "m"
    for directory in (run.model, imported):
        shutil.copytree(tiny_run.model, directory)
    for source, exports in ((run.root, run.exports), (run.model, run.exports), (imported, imported / "exports")):
        puna.export(source, "easylm", quick=True, force=True)
        assert (exports / "easylm" / "equivalence.json").is_file()
        shutil.rmtree(exports)
    puna.load(imported)


@pytest.mark.e2e
def test_all_stages_interrupted_and_called_again(tiny: Recipe, tiny_toml: Path, tmp_path: Path):
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
    deadline = time.monotonic() + 600
    while not list(run.checkpoints.glob("step-*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=300) == 128 + signal.SIGTERM
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


def test_a_build_of_the_same_data_under_another_name_is_pointed_to(tiny_toml: Path, tiny_data: DataDir):
    for changes, pointed in (({}, True), ({"data.partitions": 3}, False), ({"model.vocab_size": 600}, False)):
        recipe = puna.recipe(tiny_toml, {"name": "other", **changes})
        with pytest.raises(DataError, match="no finished data build is here") as raised:
            puna.train(recipe, tiny_data.root.parent / "other")
        assert (f"{tiny_data} was built with the same values: `--data-dir {tiny_data}`" in raised.value.hint) == pointed
        assert "puna data build" in raised.value.hint


@pytest.mark.parametrize("prompt", ["The people", 'The "assert" statement', "It's $HOME; `ls`", "two\nlines"])
def test_command_that_ends_a_run_works_as_it_is_typed(prompt: str):
    recipe = load_recipe("demo", {"samples.prompts": [prompt]}).recipe
    command = next_command(RunDir(Path("runs/my texts")), recipe)
    assert shlex.split(command) == ["puna", "generate", "runs/my texts", prompt]


def test_a_model_that_was_trained_again_learns_to_chat_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(stages, "report", lambda run: None)
    run, talks = RunDir(tmp_path / "run"), write_talks(tmp_path / "talks.jsonl")
    source = (
        f'path = "."\ninclude = ["{talks.name}"]\nformat = "conversations"\nlicence = "CC0-1.0"\nheldout_fraction = 0.1'
    )
    own = RECIPE.replace("epochs = 10", "epochs = 1").replace("prompts = [", "prompts = []  # [")
    (tmp_path / "chat.toml").write_text(f"{own}\n[data.sources.talks]\n{source}\n\n[mixture]\ntalks = 1.0\n")
    recipe = puna.recipe("demo", {"chat_recipe": str(tmp_path / "chat.toml")})
    said, weights = [], []
    for seed in (1, 1, 2):
        write_base(run.model, seed=seed)
        _learn_to_chat(recipe, run)
        said.append(" ".join(capsys.readouterr().err.split()))
        weights.append(sha256_file(run.chat.model / "model.safetensors"))
    assert "trained already" in said[1]
    assert weights[1] == weights[0]
    assert f"{run.chat}: was tuned from other weights than {run.model} has now, and is made again" in said[2]
    assert weights[2] != weights[0]
