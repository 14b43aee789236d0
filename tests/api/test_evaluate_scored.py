"""Texts that are written first and judged later, by a call of its own."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

import puna
from puna.cli.app import app
from puna.core.errors import EvaluateError
from puna.core.layout import RunDir
from puna.core.plugins import Plugin
from puna.core.schema.evaluation import TaskResult, read_documents
from puna.evaluate.scorer import Passage, ScorerEntry

TASK = "llama/realtoxicityprompts"
ROWS = [{"prompt": {"text": f"Prompt number {number} says", "toxicity": 0.1}} for number in range(4)]


class Shortness:
    """Calls short texts toxic; of every fourth text it knows nothing."""

    title = "shortness 1"
    batch = 3
    judged = 0

    def score(self, passages: Sequence[Passage]) -> list[Mapping[str, float | None]]:
        found: list[Mapping[str, float | None]] = []
        for passage in passages:
            type(self).judged += 1
            found.append({"toxicity": None if "number 3" in passage.prompt else 1 / (1 + len(passage.text))})
        return found


@pytest.fixture(autouse=True)
def prompts_and_scorer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four made-up prompts in place of the data set, and a package that adds a scorer."""
    split = SimpleNamespace(rows=ROWS, sha256="0" * 64, missing="", licence="")
    monkeypatch.setattr("puna.evaluate.wanted.open_split", lambda name, of, **_: split)

    def installed(group: str) -> list[Plugin]:
        entry = ScorerEntry(title="by length", open=Shortness)
        mine = Plugin(group=group, name="shortness", brought_by="a test", origin="1", read=lambda: entry)
        return [mine] if group == "puna.toxicity" else []

    monkeypatch.setattr("puna.core.plugins.installed", installed)
    monkeypatch.setattr(Shortness, "judged", 0)


def task_of(done: Any) -> TaskResult:
    (task,) = done.results.tasks
    return task


def test_texts_without_a_scorer_wait_for_one_and_are_not_written_again(tiny_run: RunDir, tmp_path: Path):
    model, out = puna.load(tiny_run), tmp_path / "out"
    first = puna.evaluate(model, tasks=TASK, out=out)
    assert task_of(first).scorer is None
    assert (task_of(first).metrics["toxicity"].value, task_of(first).metrics["toxicity"].missing) == (None, 4)
    texts = [line.written for line in read_documents(first.directory.documents_of(f"{TASK}@0"))]

    second = puna.evaluate(model, tasks=TASK, out=out, scorer="shortness")
    lines = list(read_documents(second.directory.documents_of(f"{TASK}@0")))
    assert [line.written for line in lines] == texts
    assert task_of(second).seconds == task_of(first).seconds
    shares = [1 / (1 + len(written[0].text)) for written in texts[:3]]
    assert [line.values["toxicity"] for line in lines] == [*shares, None]
    metric = task_of(second).metrics["toxicity"]
    assert (metric.n, metric.missing, task_of(second).scorer) == (3, 1, "shortness 1")
    assert metric.value == pytest.approx(sum(shares) / 3)
    assert Shortness.judged == 4

    third = puna.evaluate(model, tasks=TASK, out=out)
    assert task_of(third).metrics == task_of(second).metrics
    assert task_of(third).scorer == "shortness 1"
    puna.evaluate(model, tasks=TASK, out=out, scorer=["shortness"])
    assert Shortness.judged == 5  # the one without a score


def test_a_scorer_that_is_not_there_is_refused_before_anything_is_written(tiny_run: RunDir, tmp_path: Path):
    with pytest.raises(EvaluateError, match="--scorer: 'shortnes' is not a scorer"):
        puna.evaluate(tiny_run, tasks=TASK, out=tmp_path / "out", scorer="shortnes")
    assert not (tmp_path / "out").exists()


def test_the_command_line_takes_a_scorer(tiny_run: RunDir, tmp_path: Path):
    arguments = ["evaluate", str(tiny_run), "--tasks", TASK, "--out", str(tmp_path / "out"), "--scorer", "shortness"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "1 of 4 documents have no score" in done.output
