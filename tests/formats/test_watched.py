from collections.abc import Callable
from typing import Any

from puna.formats.watched import Watched


def test_bytes_are_told_as_tensors_are_read_and_nothing_else_changes(source: Callable[..., Any]) -> None:
    told: list[float] = []
    model = source()
    watched = Watched(model, told.append)
    assert watched.tensor("norm.weight") is model.tensor("norm.weight")
    assert told == [320]
    assert (watched.config, watched.stored, watched.missing) == (model.config, model.stored, [])
    assert watched.tokenizer() is None
