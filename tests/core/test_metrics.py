"""Lines of a metrics file, whole or damaged."""

from pathlib import Path

from puna.core.metrics import read_metrics


def test_lines_that_are_not_whole_are_passed_over(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1, "loss": 2.5}\n[1]\n\xff\n{"loss": 1}\n{"step": "2"}\n{"step": 3}\n{"step": 4, "lo')
    assert list(read_metrics(path)) == [{"step": 1, "loss": 2.5}, {"step": 3}]


def test_a_file_that_is_not_there_has_no_lines(tmp_path: Path):
    assert list(read_metrics(tmp_path / "metrics.jsonl")) == []
