from collections.abc import Callable
from typing import Any

from puna.formats.watched import WatchedCheckpoint


def test_bytes_are_reported_as_tensors_are_read_and_nothing_else_changes(source: Callable[..., Any]) -> None:
    reported: list[float] = []
    model = source()
    watched = WatchedCheckpoint(model, reported.append)
    assert watched.tensor("norm.weight") is model.tensor("norm.weight")
    assert reported == [320]
    assert (watched.config, watched.stored, watched.missing) == (model.config, model.stored, [])
    assert watched.tokenizer() is None
