"""Evaluations during training: figures as the engine has them, and no bit of the run changed."""

import math
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from evaluating import hellaswag_rows, opener
from safetensors.torch import load_file

import puna
from puna.benchmarks.files import open_split
from puna.config.recipe import EvaluationConfig, Recipe
from puna.core.errors import EvaluateError
from puna.core.layout import DataDir, RunDir
from puna.core.metrics import read_metrics
from puna.core.schema.evaluation import GOLD, TaskResult
from puna.core.schema.lines import EvaluationLine
from puna.core.schema.part import parse
from puna.core.schema.train_state import list_checkpoints
from puna.evaluate import training
from puna.evaluate.documents import OpenSplit, open_documents
from puna.evaluate.example import Choose, Continue, Example, Likelihood, Option, Read, Write
from puna.evaluate.registry import find_task
from puna.evaluate.run import figures, run_documents
from puna.evaluate.training import Evaluations, described, gold_bits, prepare
from puna.infer.engine import Engine
from puna.infer.operator_runner import OperatorRunner
from puna.model.files import load_model
from puna.parallel.mesh import Mesh
from puna.tokenizer.load import load_tokenizer
from puna.train.session import Listener

TASK = "harness/hellaswag"
ROWS = hellaswag_rows(30)
CONFIG = EvaluationConfig(every_steps=8, tasks=[TASK], documents=12, seed=5)


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    """HellaSwag of this machine is a made-up one."""
    monkeypatch.setattr("puna.benchmarks.files.open_split", opener({("hellaswag", "validation"): ROWS}))


@pytest.fixture(scope="module")
def evaluated(tiny: Recipe, tiny_data: DataDir, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """The tiny run, evaluated at the steps 8, 16 and 24. Read it, do not change it."""
    run = RunDir(tmp_path_factory.mktemp("evaluated") / "tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("puna.benchmarks.files.open_split", opener({("hellaswag", "validation"): ROWS}))
        puna.train(tiny.model_copy(update={"evaluation": CONFIG}), tiny_data, run)
    return run


def lines(run: RunDir) -> list[EvaluationLine]:
    return [
        parse(EvaluationLine, line, "metrics") for line in read_metrics(run.metrics) if line["kind"] == "evaluation"
    ]


def timeless(run: RunDir) -> list[tuple[int, list[TaskResult]]]:
    """The steps and results of evaluations without how long they took."""
    return [(line.step, [task.model_copy(update={"seconds": 0.0}) for task in line.tasks]) for line in lines(run)]


class EngineBackend:
    """The engine row by row, as an independent way to the same scores."""

    title, exact = "the engine", True

    def __init__(self, run: RunDir) -> None:
        self.tokenizer = load_tokenizer(run.model)
        self._engine = Engine(OperatorRunner(load_model(run.model).model, pages=64, one_by_one=True))
        self.longest = self._engine.longest

    def score(self, pairs: Any) -> Any:
        return self._engine.score(pairs)

    def write(self, requests: Any) -> Any:
        raise AssertionError


def test_evaluations_are_due_at_intervals_and_at_the_end_on_the_same_documents(evaluated: RunDir) -> None:
    assert [line.step for line in lines(evaluated)] == [8, 16, 24]
    for line in lines(evaluated):
        (result,) = line.tasks
        assert (result.id, result.n, result.of, result.limit_seed) == ("harness/hellaswag@0", 12, 30, 5)
        assert list(result.metrics) == ["acc_norm", "acc", GOLD]
        assert (result.chance, result.categories) == (0.25, {})
        assert result.contamination == "not compared"  # says the run's data card
        assert line.seconds
    first, *_, last = lines(evaluated)
    assert last.tasks[0].metrics[GOLD].value != first.tasks[0].metrics[GOLD].value


def test_figures_are_those_of_the_engine_on_the_saved_model(evaluated: RunDir) -> None:
    """The same documents, asked by the evaluation of finished models."""
    documents = open_documents(find_task(TASK), opener({("hellaswag", "validation"): ROWS}), limit=12, seed=5)
    outcome = run_documents(documents, EngineBackend(evaluated))
    theirs = figures(documents.task, outcome.judged)
    (ours,) = lines(evaluated)[-1].tasks
    assert {name: ours.metrics[name] for name in theirs} == theirs
    bits = [
        -one.answer.likelihoods[one.example.ask.gold[0]].logprob  # type: ignore[union-attr]
        / math.log(2)
        / len(one.example.ask.options[one.example.ask.gold[0]].text.encode())  # type: ignore[union-attr]
        for one in outcome.judged
    ]
    assert ours.metrics[GOLD].value == pytest.approx(sum(bits) / 12, abs=1e-5)
    # The tiny context makes the question of what was cut a real one.
    cut = [max(one.cut for one in judged.answer.likelihoods) for judged in outcome.judged]
    assert (ours.cut.documents, ours.cut.tokens) == (sum(map(bool, cut)), sum(cut))
    assert ours.cut.tokens > 0


def test_a_run_with_evaluations_has_the_bits_of_one_without(evaluated: RunDir, tiny_run: RunDir) -> None:
    """Every loss and norm, the weights, and the whole state of the last checkpoints."""
    ours, theirs = (
        [
            (line["step"], line["loss"], line["grad_norm"])
            for line in read_metrics(run.metrics)
            if line["kind"] == "train"
        ]
        for run in (evaluated, tiny_run)
    )
    assert ours == theirs
    for (step, mine), (other_step, other) in zip(list_checkpoints(evaluated), list_checkpoints(tiny_run), strict=True):
        assert step == other_step
        for path in sorted(other.glob("*.safetensors")):
            same(load_file(mine / path.name), load_file(path))
    same(load_file(evaluated.model / "model.safetensors"), load_file(tiny_run.model / "model.safetensors"))


def same(ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor), name


@pytest.mark.parametrize("change", [{}, {"precision": "bf16"}, {"precision": "bf16-stochastic"}])
def test_an_evaluation_leaves_gradients_and_random_states_as_they_are(
    change: dict[str, Any], tiny: Recipe, tiny_data: DataDir, tmp_path: Path, benchmarks: None
) -> None:
    seen: list[bool] = []
    evaluate = Evaluations.evaluate

    def watched(self: Evaluations, session: Any) -> None:
        before = torch.get_rng_state(), {name: x.clone() for name, x in session.model.state_dict().items()}
        evaluate(self, session)
        same(session.model.state_dict(), before[1])
        seen.append(torch.equal(torch.get_rng_state(), before[0]))
        seen.extend(x.grad is None for x in session.model.parameters())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Evaluations, "evaluate", watched)
        recipe = tiny.model_copy(update={"evaluation": CONFIG, "train": tiny.train.model_copy(update=change)})
        puna.train(recipe, tiny_data, RunDir(tmp_path / "run"), stop_at=9)
    assert len(seen) > 1
    assert all(seen)


def test_a_run_that_stops_and_resumes_writes_the_same_figures(
    evaluated: RunDir, tiny: Recipe, tiny_data: DataDir, tmp_path: Path, benchmarks: None
) -> None:
    """It stops after the second evaluation and goes on from there."""
    run, recipe = RunDir(tmp_path / "run"), tiny.model_copy(update={"evaluation": CONFIG})
    puna.train(recipe, tiny_data, run, stop_at=16)
    assert [line.step for line in lines(run)] == [8, 16]
    puna.train(recipe, tiny_data, run, resume=True)
    assert timeless(run) == timeless(evaluated)


DIES = """
import os, signal, sys
import puna.benchmarks.files, puna.cli
from evaluating import hellaswag_rows, opener
from puna.evaluate.backends.module import ModuleBackend

score, asked = ModuleBackend.score, []

def dying(self, pairs):
    found = score(self, pairs)
    asked.append(pairs)
    if len(asked) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return found

puna.benchmarks.files.open_split = opener({("hellaswag", "validation"): hellaswag_rows(30)})
ModuleBackend.score = dying
puna.cli.main()
"""


def test_a_run_that_is_killed_in_an_evaluation_and_resumed_writes_the_same_figures(
    evaluated: RunDir, tiny: Recipe, tiny_toml: Path, tiny_data: DataDir, tmp_path: Path, benchmarks: None
) -> None:
    """SIGKILL, when the answers of the second evaluation are there and nothing of it is written."""
    run = RunDir(tmp_path / "run")
    overrides = [f'evaluation.tasks=["{TASK}"]', "evaluation.every_steps=8", "evaluation.documents=12"]
    command = [sys.executable, "-c", DIES, "train", str(tiny_toml), *overrides, "evaluation.seed=5"]
    command += ["--data-dir", str(tiny_data.root), "--run-dir", str(run.root)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    died = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=environment)
    assert died.returncode == -signal.SIGKILL, died.stderr[-4000:]
    assert [line.step for line in lines(run)] == [8]
    puna.train(tiny.model_copy(update={"evaluation": CONFIG}), tiny_data, run, resume=True)
    assert timeless(run) == timeless(evaluated)
    same(load_file(run.model / "model.safetensors"), load_file(evaluated.model / "model.safetensors"))


def test_evaluations_may_change_when_a_run_goes_on(
    tiny: Recipe, tiny_data: DataDir, tmp_path: Path, benchmarks: None
) -> None:
    run = RunDir(tmp_path / "run")
    puna.train(tiny, tiny_data, run, stop_at=5)
    puna.train(tiny.model_copy(update={"evaluation": CONFIG}), tiny_data, run, resume=True, stop_at=8)
    assert [line.step for line in lines(run)] == [8]


def writing(row: Mapping[str, Any], shots: Sequence[Mapping[str, Any]], id: str) -> Example:
    return Example(id=id, ask=Write(prompt=row["ctx_a"], max_tokens=4))


def test_what_would_fail_later_is_refused_before_anything_is_written(
    tiny: Recipe, tiny_data: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here: OpenSplit = opener({("hellaswag", "validation"): ROWS})
    cases: list[tuple[OpenSplit, dict[str, Any], str]] = [
        (here, {"tasks": ["harness/helaswag"]}, "'harness/helaswag' is not a task"),
        (here, {"tasks": ["harness/hellaswag@x"]}, "must be a whole number"),
        (opener({}), {}, "evaluation.tasks: harness/hellaswag@0: hellaswag, split validation, is not here"),
        (opener({("hellaswag", "validation"): [{"label": 1}]}), {}, "row 0 of hellaswag"),
    ]
    for data, change, sentence in cases:
        monkeypatch.setattr("puna.benchmarks.files.open_split", data)
        recipe = tiny.model_copy(update={"evaluation": CONFIG.model_copy(update=change)})
        with pytest.raises(EvaluateError, match=sentence):
            puna.train(recipe, tiny_data, RunDir(tmp_path / "run"))
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("change", [{"example": writing}, {"needs_code": True}])
def test_tasks_that_generate_are_refused(change: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "find_task", lambda name: replace(find_task(name), **change))
    with pytest.raises(EvaluateError, match="harness/hellaswag@0 generates texts") as refused:
        prepare(CONFIG, opener({("hellaswag", "validation"): ROWS}))
    assert "puna evaluate RUN --all-checkpoints --tasks harness/hellaswag@0" in refused.value.hint


def test_what_is_not_here_may_be_left_out_and_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    config = CONFIG.model_copy(update={"missing": "skip"})
    listener = prepare(config, opener({}))(session_of(), None)  # type: ignore[arg-type]
    assert isinstance(listener, Evaluations)
    assert listener.chosen == []
    said = " ".join(capsys.readouterr().err.split())
    assert "harness/hellaswag@0 is not evaluated during training: hellaswag, split validation, is not here" in said
    listener.ended(session_of())  # records nothing


def session_of(**layout: int) -> Any:
    mesh = Mesh(**{"replicate": 1, "shard": 1, "context": 1, "tensor": 1, "rank": 0, **layout})
    return SimpleNamespace(mesh=mesh, world=SimpleNamespace(main=True))


@pytest.mark.parametrize("layout", [{"tensor": 2}, {"context": 2}])
def test_layouts_that_cannot_score_say_so_and_train_on(
    layout: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    listener = prepare(CONFIG, opener({("hellaswag", "validation"): ROWS}))(session_of(**layout), None)  # type: ignore[arg-type]
    assert type(listener) is Listener
    assert "puna evaluate RUN --all-checkpoints" in " ".join(capsys.readouterr().err.split())


def option(text: str) -> Option:
    return Option(context="", continuation=" " + text, text=text)


def test_bits_of_right_answers_are_per_byte_of_their_text() -> None:
    likely = [Likelihood(logprob=-math.log(2) * bits, tokens=1, greedy=True) for bits in (12.0, 4.0, 9.0)]
    choose = Choose(options=(option("abcd"), option("ö"), option("xyz")), gold=(0,))
    assert gold_bits(choose, likely) == 3
    assert gold_bits(replace(choose, gold=(1,)), likely) == 2
    assert gold_bits(replace(choose, gold=(0, 1)), likely) == 2.5
    assert gold_bits(replace(choose, gold=()), likely) is None
    assert gold_bits(Continue(context="", target=" abcdef", text="abcdef"), likely) == 2
    assert gold_bits(Continue(context="", target=" ", text=""), likely) is None
    assert gold_bits(Read(texts=("a",)), likely) is None


def test_a_line_says_each_main_figure_with_its_interval(evaluated: RunDir) -> None:
    (result,) = lines(evaluated)[-1].tasks
    value = result.metrics["acc_norm"]
    assert value.value is not None
    assert value.high is not None
    said = described([result])
    assert said == f"harness/hellaswag@0 acc_norm {value.value:.3f} ± {value.high - value.value:.3f}"
    none = value.model_copy(update={"value": None})
    assert described([result.model_copy(update={"metrics": {"acc": none}})]).endswith("acc not measured")


def test_two_processes_write_the_figures_of_one(
    tiny: Recipe, tiny_toml: Path, tiny_data: DataDir, tmp_path: Path
) -> None:
    """Sharded weights, and a benchmark that a package has brought here."""
    if missing := open_split("copa", "validation").missing:
        pytest.skip(missing)
    config = EvaluationConfig(every_steps=4, tasks=["harness/copa"], documents=15)
    alone, both = RunDir(tmp_path / "alone"), RunDir(tmp_path / "both")
    puna.train(tiny.model_copy(update={"evaluation": config}), tiny_data, alone, stop_at=4)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    overrides = ['evaluation.tasks=["harness/copa"]', "evaluation.every_steps=4", "evaluation.documents=15"]
    command = [sys.executable, *launcher, "-m", "puna", "train", str(tiny_toml), *overrides, "--stop-at", "4"]
    command += ["--data-dir", str(tiny_data.root), "--run-dir", str(both.root)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stderr.count("harness/copa@0 acc 0.") == 1
    ((step, (ours,)),), ((other_step, (theirs,)),) = timeless(both), timeless(alone)
    assert step == other_step == 4
    assert ours.metrics[GOLD].value == pytest.approx(theirs.metrics[GOLD].value, abs=1e-4)
    assert (ours.n, ours.metrics["acc"], ours.cut) == (15, theirs.metrics["acc"], theirs.cut)
