"""Reading a run's records: the later line of a step wins, damage is named."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from puna.core.errors import DataError
from puna.core.layout import RunDir
from puna.report.read import read_run


def append(path: Path, *lines: dict[str, object]) -> None:
    with path.open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def test_later_line_of_a_step_wins_and_lines_are_in_order(report_run: RunDir):
    line = {"kind": "train", "step": 3, "tokens": 768, "loss": 1.25, "lr": 1e-3, "grad_norm": 1.0}
    append(report_run.metrics, line | {"tokens_per_second": 1.0, "seconds": 1})
    run = read_run(report_run)
    assert [line.step for line in run.train] == list(range(1, 25))
    assert run.train[2].loss == 1.25


def test_later_sample_of_a_prompt_at_a_step_wins(report_run: RunDir):
    sample = {"kind": "sample", "step": 10, "tokens": 2560, "text": "again"}
    append(report_run.metrics, sample | {"prompt": "The <b>"}, sample | {"prompt": "Another"})
    run = read_run(report_run)
    texts = [(line.step, line.prompt, line.text) for line in run.samples]
    assert texts[:2] == [(10, "The <b>", "again"), (10, "Another", "again")]
    assert len(texts) == 4


def test_validations_of_a_part_and_of_all_text_at_one_step_are_both_kept(report_run: RunDir):
    line = {"kind": "validation", "step": 24, "tokens": 6144, "final": False}
    append(report_run.metrics, line | {"loss": {"prose": 1.0}, "bits_per_byte": {"prose": 9.0}, "seconds": 1.0})
    last = read_run(report_run).validations[-2:]
    assert [(line.step, line.final) for line in last] == [(24, True), (24, False)]


def test_events_are_read_and_only_repeated_ones_are_passed_over(report_run: RunDir):
    skipped = {"kind": "skipped", "step": 3, "tokens": 768, "reason": "inf", "loss": "inf", "grad_norm": 1.0}
    rollback = {"kind": "rollback", "step": 5, "tokens": 1280, "to_step": 5, "batches": 4, "reason": "nan"}
    append(report_run.metrics, skipped, skipped | {"reason": "nan"}, skipped | {"step": 2})
    append(report_run.metrics, *(rollback | {"from_step": step} for step in (9, 8, 9)))
    run = read_run(report_run)
    assert [(line.step, line.reason) for line in run.skipped] == [(2, "inf"), (3, "nan")]
    assert [line.from_step for line in run.rollbacks] == [9, 8]
    assert [(line.step, line.seconds) for line in run.checkpoints] == [(10, 0.5), (20, 0.5), (24, 0.5)]


def test_lines_of_another_kind_and_empty_ones_are_passed_over(report_run: RunDir):
    before = read_run(report_run)
    with report_run.metrics.open("a") as file:
        file.write('\n{"kind": "weather", "step": 1}\n')
    assert read_run(report_run) == before


def test_line_separator_inside_a_text_does_not_end_the_line(report_run: RunDir):
    sample = {"kind": "sample", "step": 1, "tokens": 256, "prompt": "a", "text": "one\u2028two\x85three"}
    with report_run.metrics.open("a", encoding="utf-8") as file:
        file.write(json.dumps(sample, ensure_ascii=False) + "\n")
    assert read_run(report_run).samples[0].text == "one\u2028two\x85three"


def test_run_that_is_not_there_or_that_nothing_describes(report_run: RunDir):
    with pytest.raises(DataError, match="holds no run"):
        read_run(RunDir(report_run.root / "nowhere"))
    report_run.record.unlink()
    report_run.config.unlink()
    with pytest.raises(DataError, match=r"config\.toml: is missing, so nothing says what the run is"):
        read_run(report_run)


def test_record_of_another_stage_is_refused(report_run: RunDir):
    record = json.loads(report_run.record.read_text())
    report_run.record.write_text(json.dumps(record | {"stage": "data"}))
    with pytest.raises(DataError, match="its record is of the stage 'data', not of a training run"):
        read_run(report_run)


@pytest.mark.parametrize("content", ["{", "[]", "3", '{"step": 1}', "[" * 100_000])
def test_damaged_metrics_are_named_with_their_line(report_run: RunDir, content: str):
    with report_run.metrics.open("a") as file:
        file.write(content + "\n")
    with pytest.raises(DataError, match="line 34 is not a line of metrics"):
        read_run(report_run)


def test_field_that_a_line_lacks_is_named_with_the_line(report_run: RunDir):
    append(report_run.metrics, {"kind": "train", "step": 1, "tokens": 256})
    with pytest.raises(DataError, match=r"metrics\.jsonl: line 34: 'loss' is missing"):
        read_run(report_run)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"{", "is not JSON"),
        (b"\xff", "is not UTF-8 text"),
        (b"[]", r"should be a JSON object, got \[\]"),
        (b'{"schema": 1}', "'schema' should be 3, got 1"),
    ],
)
def test_damaged_card_is_named(report_run: RunDir, content: bytes, sentence: str):
    report_run.data_card.write_bytes(content)
    with pytest.raises(DataError, match=rf"data_card\.json.* {sentence}"):
        read_run(report_run)


def test_file_that_cannot_be_read_is_named(report_run: RunDir):
    report_run.config.unlink()
    report_run.config.mkdir()
    with pytest.raises(DataError, match=r"config\.toml: cannot be read .Is a directory"):
        read_run(report_run)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=50)
@given(st.binary(max_size=60))
def test_any_bytes_as_metrics_are_read_or_refused(report_run: RunDir, content: bytes):
    report_run.metrics.write_bytes(content)
    try:
        assert read_run(report_run).train == []
    except DataError as error:
        refused = error.message
    else:
        refused = "metrics.jsonl"
    assert "metrics.jsonl" in refused


def test_proof_of_another_version_is_named_with_what_to_do(report_run: RunDir):
    path = report_run.exports / "hf" / "equivalence.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"results": {"parameters": 1}}))
    with pytest.raises(DataError, match=r"equivalence\.json: 'results\.weights' is missing\n  hint: .*export again"):
        read_run(report_run)
