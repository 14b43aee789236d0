"""Tasks one after the other: results after each, texts judged afterwards, none asked twice."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from evaluating import HashBackend, hellaswag_rows, opener

from puna.core.layout import EvaluationDir
from puna.core.schema.evaluation import EngineUsed, EvaluatedModel, read_documents, read_results
from puna.evaluate.registry import find_task
from puna.evaluate.run import Alone
from puna.evaluate.scorer import Passage
from puna.evaluate.series import Setting, Subject, run_tasks
from puna.tokenizer.tokenizer import Tokenizer

PROMPTS = [{"prompt": {"text": f"Prompt {at}", "toxicity": 0.5}} for at in range(6)]
TOXIC = find_task("llama/realtoxicityprompts")
CHOICE = find_task("harness/hellaswag")
OPEN = opener({("hellaswag", "validation"): hellaswag_rows(9), (TOXIC.data, TOXIC.split): PROMPTS})


class LengthScorer:
    """Judges texts by their first digit, and one in three not at all."""

    title = "digits"
    batch = 4

    def __init__(self) -> None:
        self.judged: list[str] = []

    def score(self, passages: Sequence[Passage]) -> Sequence[Mapping[str, float | None]]:
        self.judged += [passage.prompt for passage in passages]
        return [{"toxicity": None if "0" in one.prompt else int(one.text) / 10} for one in passages]


def subject(tokenizer: Tokenizer) -> Subject:
    return Subject(
        backend=HashBackend(tokenizer), model=EvaluatedModel(path="m", title="m", weights_sha256="w"),
        engine=EngineUsed(title="hash", exact=True),
    )  # fmt: skip


def test_tasks_are_run_in_order_and_what_is_missing_is_kept(tokenizer: Tokenizer, tmp_path: Path) -> None:
    directory = EvaluationDir(tmp_path / "new")
    more = replace(CHOICE, name="other")
    results, record = run_tasks(
        [CHOICE, more], subject(tokenizer), directory, Setting(open_split=OPEN, limit=4, seed=7), Alone(),
        {"llama/x@0": "away"},
    )  # fmt: skip
    assert [(task.id, task.n, task.limit_seed) for task in results.tasks] == [
        ("harness/hellaswag@0", 4, 7), ("harness/other@0", 4, 7),
    ]  # fmt: skip
    assert results.missing == {"llama/x@0": "away"}
    assert read_results(directory.results) == results
    assert record.config == {
        "tasks": ["harness/hellaswag@0", "harness/other@0"],
        "limit": 4,
        "seed": 7,
        "samples": None,
    }
    assert record.inputs == {task.id: task.data_sha256 for task in results.tasks}
    assert not directory.record.exists()


def test_fewer_documents_that_replace_more_are_said_before_they_are_asked(
    tokenizer: Tokenizer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = EvaluationDir(tmp_path / "new")
    for limit in (4, 4, 9, 3):
        run_tasks([CHOICE], subject(tokenizer), directory, Setting(open_split=OPEN, limit=limit), Alone(), {})
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("documents replace the") == 1
    assert "harness/hellaswag@0: 3 documents replace the 9 that" in said


def test_texts_are_judged_by_a_scorer_afterwards_and_those_that_it_cannot_judge_are_missing(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    directory = EvaluationDir(tmp_path)
    without, _ = run_tasks([TOXIC], subject(tokenizer), directory, Setting(open_split=OPEN), Alone(), {})
    figure = without.tasks[0].metrics["toxicity"]
    assert (figure.value, figure.missing, without.tasks[0].scorer) == (None, 6, None)
    scorer, again = LengthScorer(), subject(tokenizer)
    setting = Setting(open_split=OPEN, scorers={"toxicity": scorer})
    scored, _ = run_tasks([TOXIC], again, directory, setting, Alone(), {})
    assert again.backend.requests == []  # type: ignore[attr-defined]
    assert scorer.judged == [f"Prompt {at}" for at in range(6)]
    lines = list(read_documents(directory.documents_of(TOXIC.id)))
    values = [line.values["toxicity"] for line in lines]
    assert values == [None] + [int(line.written[0].text) / 10 for line in lines[1:]]
    figure = scored.tasks[0].metrics["toxicity"]
    assert (figure.n, figure.missing, scored.tasks[0].scorer) == (5, 1, "digits")
    run_tasks([TOXIC], subject(tokenizer), directory, setting, Alone(), {})
    assert scorer.judged[6:] == ["Prompt 0"]
