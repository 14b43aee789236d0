"""Every saved step of a run is evaluated once, and its report draws what came of it."""

import shutil
from pathlib import Path

import pytest
from own_tasks import write_tasks

import puna
from puna.core.errors import CheckpointError, EvaluateError
from puna.core.layout import EvaluationDir, RunDir
from puna.core.schema.evaluation import read_results
from puna.core.schema.train_state import list_checkpoints
from puna.report.read import read_run


@pytest.fixture
def run(tiny_run: RunDir, tmp_path: Path) -> RunDir:
    """A run of its own, which may be written to."""
    shutil.copytree(tiny_run, tmp_path / "run")
    return RunDir(tmp_path / "run")


@pytest.fixture
def tasks(tmp_path: Path) -> str:
    text = write_tasks(tmp_path / "mine").read_text()
    path = tmp_path / "mine" / "letters.toml"
    path.write_text(text.partition("[next]")[0])
    return str(path)


def test_every_saved_step_is_evaluated_in_a_directory_of_its_own(run: RunDir, tasks: str) -> None:
    done = puna.evaluate_checkpoints(run, tasks=tasks)
    steps = [step for step, _ in list_checkpoints(run)]
    assert [one.results.model.step for one in done.evaluations] == steps == [15, 20, 24]
    assert [one.directory.root.name for one in done.evaluations] == [f"step-{step:08d}" for step in steps]
    assert len({one.results.model.weights_sha256 for one in done.evaluations}) == 3
    # The last one is the run's model, as `puna evaluate RUN` asks it.
    assert puna.evaluate(run, tasks=tasks).results == done.evaluations[-1].results
    alone = puna.evaluate(f"{run}@step-20", tasks=tasks)
    assert alone.results == done.evaluations[1].results
    text = str(done).splitlines()
    assert len(text) == 3
    metric = done.evaluations[0].results.tasks[0].main[1]
    assert metric.value is not None
    assert metric.high is not None
    assert text[0] == (
        f"own/letters@1  acc_norm  step 15  {metric.value:.4f} ± {metric.high - metric.value:.4f}  n {metric.n}"
    )


def test_the_report_has_a_curve_over_the_saved_steps(run: RunDir, tasks: str) -> None:
    done = puna.evaluate_checkpoints(run, tasks=tasks)
    (benchmark,) = read_run(run).benchmarks
    (series,) = benchmark.series
    expected = [(one.results.model.tokens, one.results.tasks[0].main[1]) for one in done.evaluations]
    assert [(point.tokens, point.main) for point in series.points] == expected


def test_a_run_that_goes_on_is_asked_what_is_new(run: RunDir, tasks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no model yet, and was interrupted after the first step of three."""
    shutil.rmtree(run.model)
    run.record.unlink()
    first = puna.evaluate(f"{run}@step-15", tasks=tasks)
    asked = []
    from puna.evaluate.backends.local import LocalBackend

    score = LocalBackend.score

    def counted(self: LocalBackend, pairs):  # type: ignore[no-untyped-def]
        asked.append(len(pairs))
        return score(self, pairs)

    monkeypatch.setattr(LocalBackend, "score", counted)
    done = puna.evaluate_checkpoints(run, tasks=tasks)
    assert sum(asked) == 2 * first.results.tasks[0].requests
    assert done.evaluations[0].results == first.results
    assert [one.results.model.path for one in done.evaluations] == [f"{run}@step-{step}" for step in (15, 20, 24)]
    asked.clear()
    puna.evaluate_checkpoints(run, tasks=tasks)
    assert asked == []


def test_what_is_not_a_run_with_saved_steps_is_refused(run: RunDir, tasks: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is a moment of a run, here the run is meant") as refused:
        puna.evaluate_checkpoints(f"{run}@step-20", tasks=tasks)
    assert f"puna evaluate {run} --all-checkpoints" in refused.value.hint
    with pytest.raises(CheckpointError, match="is not a run of Puna"):
        puna.evaluate_checkpoints(tmp_path / "mine", tasks=tasks)
    with pytest.raises(EvaluateError, match="every saved step has a directory of its own"):
        puna.evaluate_checkpoints(run, tasks=tasks, out=tmp_path / "out")
    with pytest.raises(EvaluateError, match="every saved step is another model"):
        puna.evaluate_checkpoints(run, tasks=tasks, adapter=tmp_path)
    shutil.rmtree(run.checkpoints)
    shutil.rmtree(run.model)
    with pytest.raises(EvaluateError, match="has saved no step yet"):
        puna.evaluate_checkpoints(run, tasks=tasks)
    assert not run.evaluations.exists()


def test_a_run_whose_checkpoints_are_gone_still_has_its_model(run: RunDir, tasks: str) -> None:
    shutil.rmtree(run.checkpoints)
    (one,) = puna.evaluate_checkpoints(run, tasks=tasks).evaluations
    assert one.results.model.step == 24
    assert read_results(EvaluationDir(run.evaluations / "step-00000024").results) == one.results
