"""A model is evaluated as a user would: where the results go, what is refused, and that processes change no figure."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from model_source import random_model
from own_tasks import write_tasks

import puna
from puna.config.recipe import ModelConfig
from puna.core.errors import EvaluateError
from puna.core.files import sha256_file
from puna.core.layout import EvaluationDir, RunDir
from puna.core.records import read_record
from puna.core.reference import find_moment
from puna.core.schema.evaluation import Results, read_documents, read_results
from puna.model.files import save_model


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    return write_tasks(tmp_path / "mine")


def without_times(results: Results) -> Results:
    tasks = [task.model_copy(update={"seconds": 0.0}) for task in results.tasks]
    return results.model_copy(update={"tasks": tasks})


def test_the_scores_of_documents_are_those_that_the_model_gives(tiny_run: RunDir, tasks: Path, tmp_path: Path) -> None:
    model = puna.load(tiny_run)
    done = puna.evaluate(model, tasks=[str(tasks)], out=tmp_path / "out")
    lines = list(read_documents(done.directory.documents_of("own/letters@1")))
    assert len(lines) == 12
    for line in lines:
        scores = model.score([(line.context, option.continuation) for option in line.options])
        assert [option.logprob for option in line.options] == [score.total for score in scores]
    written = list(read_documents(done.directory.documents_of("own/answers@0")))
    texts = model.generate([line.context for line in written], max_tokens=3, temperature=0, stop=["\n"])
    assert [line.written[0].text for line in written] == texts
    right = [line.values["acc"] for line in lines]
    assert done.results.tasks[0].metrics["acc"].value == pytest.approx(sum(map(float, right)) / 12)  # type: ignore[arg-type]
    assert [task.id for task in done.results.tasks] == ["own/letters@1", "own/next@0", "own/answers@0"]
    assert [task.licence for task in done.results.tasks] == ["CC0-1.0", "", ""]
    assert "own/letters@1 acc_norm" in str(done)


def test_a_run_keeps_its_evaluations_by_the_steps_of_its_moments(
    tiny_run: RunDir, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_run, tmp_path / "run")
    run = RunDir(tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    done = puna.evaluate("run", tasks=str(tasks), limit=2)
    moment = find_moment("run@last")
    assert moment is not None
    assert done.directory.root == Path("run/evaluations/step-00000024")
    assert (done.results.model.path, done.results.model.step) == ("run@step-24", 24)
    assert done.results.model.tokens == 6144
    other = puna.evaluate("run@step-20", tasks=str(tasks), limit=2)
    assert other.directory.root == Path("run/evaluations/step-00000020")
    assert (other.results.model.step, other.results.model.tokens) == (20, 5120)
    assert other.results.model.weights_sha256 != done.results.model.weights_sha256
    assert other.results.model.tokenizer_sha256 == done.results.model.tokenizer_sha256
    assert run.evaluations.is_dir()


def test_a_finished_run_and_its_last_checkpoint_are_one_model(
    tiny_run: RunDir, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_run, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    done = puna.evaluate("run", tasks=str(tasks), limit=2)
    again = puna.evaluate("run@last", tasks=str(tasks), limit=3)
    assert again.directory == done.directory
    assert again.results.model == done.results.model
    assert [task.n for task in again.results.tasks] == [3, 3, 3]


def test_a_model_that_is_not_a_runs_has_its_evaluation_in_the_current_directory(
    tiny_run: RunDir, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_run.model, tmp_path / "models" / "small")
    monkeypatch.chdir(tmp_path)
    done = puna.evaluate("models/small", tasks=str(tasks), limit=2)
    assert done.directory.root == Path("evaluations/small")
    assert (done.results.model.title, done.results.model.step) == ("small", None)
    shutil.copytree(tmp_path / "models" / "small", tmp_path / "moved")
    same = puna.evaluate("moved", tasks=str(tasks), limit=2)
    assert same.results.model.weights_sha256 == done.results.model.weights_sha256


def test_an_evaluation_has_a_record_and_what_was_done_is_not_asked_again(
    tiny_run: RunDir, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = puna.load(tiny_run)
    first = puna.evaluate(model, tasks=[str(tasks)], out=tmp_path / "out", limit=5, seed=3)
    assert {(task.n, task.of, task.limit_seed) for task in first.results.tasks} == {(5, 12, 3)}
    record = read_record(first.directory.record)
    assert record is not None
    assert record["config"] | {"tasks": 3} == {"tasks": 3, "limit": 5, "seed": 3, "samples": None}
    made = {path.name for path in first.directory.root.iterdir()}
    assert made >= {"index.html", "tables.md", "tables.tex", "model-index.yaml", "documents", "results.json"}
    assert record["inputs"]["own/letters@1"] == first.results.tasks[0].data_sha256
    assert record["outputs"]["results.json"] == sha256_file(first.directory.results)
    monkeypatch.setattr(model.runner, "logits", None)  # whoever computes anything fails
    again = puna.evaluate(model, tasks=[str(tasks)], out=tmp_path / "out", limit=5, seed=3)
    assert again.results == first.results


def test_one_process_that_shares_its_model_with_nobody_has_it_whole(
    tiny_run: RunDir, tasks: Path, tmp_path: Path
) -> None:
    done = puna.evaluate(tiny_run, tasks=str(tasks), limit=2, out=tmp_path / "split", split=True)
    alone = puna.evaluate(tiny_run, tasks=str(tasks), limit=2, out=tmp_path / "alone")
    assert without_times(done.results) == without_times(alone.results)


@pytest.mark.parametrize("name", ["../../elsewhere", "a/b", "..", ""])
def test_a_name_that_is_not_the_last_part_of_a_path_is_refused(
    tiny_run: RunDir, tasks: Path, tmp_path: Path, name: str
) -> None:
    with pytest.raises(EvaluateError, match="is not a name for a directory"):
        puna.evaluate(tmp_path / "no-model", tasks=str(tasks), name=name)


def test_other_tasks_of_the_same_model_stay(tiny_run: RunDir, tasks: Path, tmp_path: Path) -> None:
    text = tasks.read_text()
    (tasks.parent / "one.toml").write_text(text.partition("[next]")[0])
    (tasks.parent / "two.toml").write_text("[next]" + text.partition("[next]")[2])
    out = tmp_path / "out"
    for name in ("one.toml", "two.toml"):
        puna.evaluate(tiny_run, tasks=str(tasks.parent / name), out=out, limit=2)
    found = read_results(EvaluationDir(out).results)
    assert [task.id for task in found.tasks] == ["own/letters@1", "own/next@0", "own/answers@0"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"tasks": ()}, "nothing is asked for"),
        ({"tasks": "harness/none"}, "'harness/none' is not a task"),
        ({"tasks": "nowhere.toml"}, "nowhere.toml: no such file"),
        ({"limit": 0}, "limit is 0, but must be at least 1"),
        ({"engine": "lm-eval", "suite": "llama"}, "lm-eval asks its own tasks.* 'llama' has no meaning"),
        ({"engine": "lm-eval", "scorer": "perspective"}, "'perspective' has no meaning"),
        ({"samples": 0}, "samples is 0, but must be at least 1"),
        ({"data_dir": "nowhere"}, "nowhere: is not a directory"),
        ({"served": "demo"}, "'demo' is the name of a model on an endpoint, but .*no-model is not an endpoint"),
    ],
)
def test_what_cannot_be_done_is_refused_before_a_model_is_read(
    tasks: Path, tmp_path: Path, options: dict, says: str
) -> None:
    with pytest.raises(EvaluateError, match=says):
        puna.evaluate(tmp_path / "no-model", **({"tasks": str(tasks)} | options))


def test_data_that_is_not_there_is_named_before_anything_is_written(
    tiny_run: RunDir, tasks: Path, tmp_path: Path
) -> None:
    (tasks.parent / "letters.jsonl").unlink()
    with pytest.raises(EvaluateError, match=r"own/letters@1, own/next@0, own/answers@0: .*letters\.jsonl is not there"):
        puna.evaluate(tiny_run, tasks=str(tasks), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def launch(*arguments: str | Path) -> str:
    """What two processes print."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "puna", "evaluate"]
    done = subprocess.run(
        [sys.executable, *launcher, *map(str, arguments)], text=True, capture_output=True, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@pytest.fixture
def two_heads(tiny_run: RunDir, tmp_path: Path) -> Path:
    """A model that two processes can share: its key heads are two."""
    tokenizer = puna.load(tiny_run).tokenizer
    shape = {"dim": 64, "n_layers": 1, "n_heads": 4, "n_kv_heads": 2, "ffn_dim": 96, "context": 64}
    model = random_model(ModelConfig.model_validate(shape | {"vocab_size": tokenizer.vocab_size}))
    save_model(model, tmp_path / "model", tokenizer=tokenizer, inputs={})
    return tmp_path / "model"


@pytest.mark.e2e
def test_processes_that_share_the_documents_give_the_figures_of_one(
    two_heads: Path, tasks: Path, tmp_path: Path
) -> None:
    alone = puna.evaluate(two_heads, tasks=str(tasks), out=tmp_path / "alone", threads=1)
    assert launch(two_heads, "--tasks", tasks, "--out", tmp_path / "two").count("own/letters@1 acc_norm") == 1
    two = EvaluationDir(tmp_path / "two")
    assert without_times(read_results(two.results)) == without_times(alone.results)
    for task in alone.results.tasks:
        ours, theirs = (list(read_documents(of.documents_of(task.id))) for of in (alone.directory, two))
        assert ours == theirs
    assert [path.name for path in two.documents.iterdir() if ".part-" in path.name] == []


@pytest.mark.e2e
def test_processes_that_share_the_model_give_its_likelihoods(two_heads: Path, tasks: Path, tmp_path: Path) -> None:
    alone = puna.evaluate(two_heads, tasks=str(tasks), out=tmp_path / "alone", threads=1)
    launch(two_heads, "--tasks", tasks, "--out", tmp_path / "two", "--split")
    for task in ("own/letters@1", "own/next@0"):
        ours, theirs = (
            [option.logprob for line in read_documents(of.documents_of(task)) for option in line.options]
            for of in (alone.directory, EvaluationDir(tmp_path / "two"))
        )
        assert ours == pytest.approx(theirs, abs=1e-5)
