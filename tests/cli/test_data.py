"""`puna data`: where a build runs, what models it trains, and from a step of a run back to the text."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from puna.config.load import save_recipe
from puna.config.recipe import Recipe
from puna.core.layout import DataDir, RunDir
from puna.core.records import Record
from puna.core.schema.lineage import Parent
from puna.core.schema.train_state import TrainState, directory_of, write_state
from puna.data.documents import documents_of
from puna.shards.loader import Loader
from puna.shards.shards import TokenShards
from puna.tokenizer.load import load_tokenizer


def puna(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command, where torch is not installed."""
    code = "import sys; sys.modules['torch'] = None; import puna.cli; puna.cli.main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300, check=False)


def assert_sentence(result: subprocess.CompletedProcess[str], pattern: str) -> None:
    """A user's error: exit code 2, nothing on stdout, and a sentence that says it."""
    assert (result.returncode, result.stdout) == (2, ""), result.stderr
    assert "Traceback" not in result.stderr
    assert re.search(pattern, result.stderr), result.stderr


@pytest.fixture
def loader(tiny: Recipe, tiny_data: DataDir) -> Loader:
    return Loader({name: TokenShards.open(tiny_data.shards / name / "train") for name in tiny.mixture}, tiny)


@pytest.fixture
def run(tiny: Recipe, tmp_path: Path) -> RunDir:
    """What is there of a run before its first checkpoint."""
    run = RunDir(tmp_path / "run")
    save_recipe(tiny, run.config)
    return run


def _checkpoint(run: RunDir, step: int, **state: Any) -> None:
    path = directory_of(run, step)
    path.mkdir(parents=True)
    write_state(path, TrainState(step=step, **state), {"shard-00001.safetensors": "0" * 64})


def _rows(tiny: Recipe, tiny_data: DataDir, lines: str) -> list[list[int]]:
    """The token ids of each sequence of a trace, from the documents' text."""
    tokenizer = load_tokenizer(tiny_data.tokenizer)
    texts = {}
    for name in tiny.mixture:
        for document in documents_of(tiny_data, name, "train"):
            texts[name, document.id] = document
    rows: dict[int, list[int]] = {}
    for line in lines.splitlines():
        span = json.loads(line)
        document = texts[span["source"], span["document"]]
        assert span["origin"] == document.origin
        ids = [*tokenizer.encode(document.text, bos=True), tokenizer.eos_id]
        rows.setdefault(span["sequence"], []).extend(ids[span["first"] : span["first"] + span["count"]])
    return list(rows.values())


def test_a_step_leads_back_to_the_text_that_it_learned_from(
    tiny: Recipe, tiny_data: DataDir, run: RunDir, loader: Loader
):
    _checkpoint(run, 5, data_fingerprint=loader.fingerprint)
    result = puna("data", "trace", run.root, "--step", 7, "--data-dir", tiny_data.root, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    assert np.array_equal(_rows(tiny, tiny_data, result.stdout), loader.batch(6 * 8, 8))
    plain = puna("data", "trace", run.root, "--step", 7, "--data-dir", tiny_data.root)
    spans = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line.split("\t") for line in plain.stdout.splitlines()] == [
        [str(value) for value in span.values()] for span in spans
    ]
    assert {span["sequence"] for span in spans} == set(range(48, 56))


def test_batches_that_a_rollback_passed_over_are_passed_over_here_too(
    tiny: Recipe, tiny_data: DataDir, run: RunDir, loader: Loader
):
    _checkpoint(run, 5, data_fingerprint="older")
    _checkpoint(run, 10, data_fingerprint=loader.fingerprint, shifts=[(5, 3), (7, 1)])
    for step, batch in ((5, 4), (6, 8), (7, 9), (8, 11)):
        result = puna("data", "trace", run.root, "--step", step, "--data-dir", tiny_data.root, "--json")
        assert np.array_equal(_rows(tiny, tiny_data, result.stdout), loader.batch(batch * 8, 8)), step


def test_data_are_looked_for_under_the_name_of_the_recipe(run: RunDir, tiny_data: DataDir, tmp_path: Path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "tiny").symlink_to(tiny_data.root)
    result = puna("data", "trace", run.root, "--step", 1, cwd=tmp_path)
    assert result.returncode == 0
    assert "has no checkpoint yet that says what it is trained on" in result.stderr
    assert len(result.stdout.splitlines()) >= 8


def test_other_data_than_the_runs_are_refused(run: RunDir, tiny_data: DataDir, loader: Loader):
    command = ("data", "trace", run.root, "--step", 1, "--data-dir", tiny_data.root)
    _checkpoint(run, 5, data_fingerprint="0" * 64)
    sentence = (
        rf"holds other token shards than .* trained on \(fingerprint {loader.fingerprint[:12]}, the run has 0{{12}}"
    )
    assert_sentence(puna(*command), sentence)
    record = Record("train")
    record.inputs = {"data": loader.fingerprint}
    record.write(run.record)  # a finished run's record decides
    assert puna(*command).returncode == 0
    record.inputs = {"data": "1" * 64}
    record.write(run.record)
    assert_sentence(puna(*command), "the run has 1{12}")


def test_steps_that_the_run_has_not_made_itself_are_refused(run: RunDir, tiny_data: DataDir, loader: Loader):
    parent = Parent(how="branched", run="tiny", place="runs/tiny@3", step=3, tokens=3 * 256)
    _checkpoint(run, 5, data_fingerprint=loader.fingerprint, lineage=[parent])
    command = ("data", "trace", run.root, "--data-dir", tiny_data.root, "--step")
    assert_sentence(puna(*command, 3), "--step 3: this run branches from runs/tiny@3 and has made the steps after 3")
    assert puna(*command, 4).returncode == 0


def test_a_moment_of_a_run_is_answered_with_the_command_for_the_run(run: RunDir, loader: Loader):
    _checkpoint(run, 5, data_fingerprint=loader.fingerprint)
    for place in (f"{run}@5", f"{run}@last", directory_of(run, 5)):
        found = puna("data", "trace", place, "--step", 1)
        assert_sentence(found, "is a moment of a run, here the run is meant")
        assert f"`puna data trace {run} --step 1`" in found.stderr


def test_what_cannot_be_traced_is_said_in_a_sentence(run: RunDir, tiny: Recipe, tiny_data: DataDir, tmp_path: Path):
    def trace(*arguments: str | Path, step: str = "1") -> subprocess.CompletedProcess[str]:
        return puna("data", "trace", *arguments, "--step", step)

    data = ("--data-dir", tiny_data.root)
    assert_sentence(trace(run.root, *data, step="25"), "--step 25: the run in .* has 24 steps")
    assert_sentence(trace(tmp_path, *data), "is not a run of Puna")
    assert_sentence(trace(run.root, "--data-dir", tmp_path), "holds no token shards")
    _checkpoint(run, 5)
    (directory_of(run, 5) / "state.json").write_text("[]")
    assert_sentence(trace(run.root, *data), r"step-00000005/state\.json: is missing or damaged")
    run.config.write_text(run.config.read_text().replace("context = 32", "context = 33"))
    assert_sentence(trace(run.root, *data), r"not a multiple of model\.context = 33")


@pytest.mark.parametrize("command", [["data", "build", "demo"], ["run", "demo"]])
def test_data_are_not_built_in_an_object_store(command: list[str], tmp_path: Path):
    result = puna(*command, "--data-dir", "s3://bucket/demo", cwd=tmp_path)
    assert_sentence(result, "--data-dir s3://bucket/demo: data are built in a directory of this machine")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["train", "demo"], ["data", "trace"]])
def test_data_are_read_from_an_object_store(command: list[str], run: RunDir, tmp_path: Path):
    arguments = [run.root, "--step", 1] if command[0] == "data" else []
    result = puna(*command, *arguments, "--data-dir", "memory://nowhere", cwd=tmp_path)
    assert_sentence(result, r"memory://nowhere/record\.json: is missing, so no finished data build is here")


def test_an_executor_that_nobody_knows_is_refused_with_those_that_there_are(tmp_path: Path):
    result = puna("data", "build", "demo", "--executor", "spark", "--data-dir", tmp_path / "d")
    assert_sentence(result, "--executor spark: is none of local, ray, slurm")


def test_the_addresses_that_a_dump_refers_to_are_printed(tmp_path: Path):
    (tmp_path / "dump.xml").write_text(
        "<mediawiki><page><title>A</title><ns>0</ns><id>1</id><revision><text>"
        "One.&lt;ref&gt;[http://a.org/x Title]&lt;/ref&gt; Two.&lt;ref&gt;http://a.org/x&lt;/ref&gt;"
        "</text></revision></page></mediawiki>"
    )
    result = puna("data", "references", tmp_path / "dump.xml")
    assert (result.returncode, result.stdout) == (0, "http://a.org/x\n"), result.stderr


def test_a_classifier_is_trained_and_says_how_well_it_parts(tmp_path: Path):
    for name, word in (("good", "encyclopaedia"), ("bad", "casino")):
        lines = [json.dumps({"text": f"{word} {number} {word} of things and {number % 7}"}) for number in range(200)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    command = ["data", "train-classifier", "--positive", tmp_path / "good.jsonl", "--negative", tmp_path / "bad.jsonl"]
    result = puna(*command, "--out", tmp_path / "model")
    assert result.returncode == 0, result.stderr
    heading, *rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert heading == ["threshold", "precision", "recall"]
    assert all(len(row) == 3 for row in rows)
    assert "training on " in result.stderr
    assert ("0.5", "1.0000", "1.0000") in [tuple(row) for row in rows]
    assert (tmp_path / "model" / "model.bin").is_file()
    assert_sentence(puna(*command, "--out", tmp_path / "model"), "model: exists already")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "work.txt").write_text("")
    assert_sentence(
        puna(*command, "--out", tmp_path / "mine", "--force"), r"holds no record\.json, so it is not what --force"
    )
    assert (tmp_path / "mine" / "work.txt").exists()


def test_a_missing_trainer_of_language_models_is_named(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "a"}))
    arguments = [tmp_path / "a.jsonl", "--reference", tmp_path / "a.jsonl", "--out", tmp_path / "lm"]
    assert_sentence(puna("data", "train-lm", *arguments, "--lmplz", "no-lmplz"), "no-lmplz.*is not there")
    assert_sentence(puna("data", "train-lm", *arguments, "--score", "x"), "--score x: is not valid")
    assert not (tmp_path / "lm").exists()


@pytest.mark.skipif(shutil.which("lmplz") is None, reason="KenLM's lmplz is not in PATH")
def test_training_a_language_model_prints_its_cutoffs_under_headings(tmp_path: Path):
    words = ["king", "ship", "river", "law", "army", "bridge", "city"]
    texts = [f"the {a} saw a {b} by the {c}" for a in words for b in words for c in words]
    for name, chosen in (("text", texts[::2]), ("reference", texts[1::2])):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in chosen))
    result = puna(
        "data", "train-lm", tmp_path / "text.jsonl", "--reference", tmp_path / "reference.jsonl", "--pieces", "60",
        "--out", tmp_path / "lm", "--score", "page",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    cutoffs = json.loads((tmp_path / "lm" / "cutoffs.json").read_text())
    assert cutoffs["score"] == "page"
    assert result.stdout.splitlines() == [
        "third\tperplexity below\tof the reference",
        f"head\t{cutoffs['head']:.1f}\t30%", f"middle\t{cutoffs['middle']:.1f}\t60%",
    ]  # fmt: skip
    assert "learning at most 60 pieces" in result.stderr
    assert "cut-offs of 171 documents" in result.stderr
