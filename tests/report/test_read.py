"""Reading a run's records: the later line of a step wins, damage is named."""

import json

import pytest

from puna.core.errors import DataError
from puna.core.layout import RunDir
from puna.report.read import read_run


def test_later_line_of_a_step_wins_and_lines_are_in_order(report_run: RunDir):
    with report_run.metrics.open("a") as file:
        line = {"kind": "train", "step": 3, "tokens": 768, "loss": 1.25, "lr": 1e-3, "grad_norm": 1.0}
        file.write(json.dumps(line | {"tokens_per_second": 1.0, "seconds": 1}) + "\n")
    run = read_run(report_run)
    assert [line["step"] for line in run.train] == list(range(1, 25))
    assert run.train[2]["loss"] == 1.25


def test_run_that_is_not_there_or_not_finished(report_run: RunDir):
    with pytest.raises(DataError, match="holds no run"):
        read_run(RunDir(report_run.root / "nowhere"))
    report_run.record.unlink()
    with pytest.raises(DataError, match="is not finished"):
        read_run(report_run)


@pytest.mark.parametrize("content", ["{", "[]", '{"kind": "train"}'])
def test_damaged_metrics_are_named_with_their_line(report_run: RunDir, content: str):
    with report_run.metrics.open("a") as file:
        file.write(content + "\n")
    with pytest.raises(DataError, match="line 31 is no line of metrics"):
        read_run(report_run)


def test_damaged_card_is_named(report_run: RunDir):
    report_run.data_card.write_text("{")
    with pytest.raises(DataError, match=r"data_card\.json: is damaged"):
        read_run(report_run)
