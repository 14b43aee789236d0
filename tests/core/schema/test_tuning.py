"""What is computed from the counts of a tuned run."""

from puna.core.schema.part import parse
from puna.core.schema.tuning import PackedRun, TuningRecord


def _run(sequences: int) -> PackedRun:
    return PackedRun(sequences=sequences, context=10, examples={"a": 3}, tokens={"a": 12, "b": 3}, epochs={"a": 1.0})


def test_share_of_positions_that_hold_tokens():
    assert _run(2).filled == 0.75
    assert _run(0).filled is None


def test_a_record_is_read_as_it_is_written():
    record = TuningRecord(
        model="runs/demo", template_sha256="ab", parameters=3, learned=2, counts=[], reasons={}, run=_run(2)
    )
    assert record.as_dict()["schema"] == 1
    assert parse(TuningRecord, record.as_dict(), "tuning.json") == record
