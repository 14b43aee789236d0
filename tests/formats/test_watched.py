from collections.abc import Callable
from typing import Any

from puna.formats.watched import WatchedCheckpoint
from puna.ops.quantized import WeightKind, quantize


def test_bytes_are_reported_as_tensors_are_read_and_nothing_else_changes(source: Callable[..., Any]) -> None:
    reported: list[float] = []
    model = source()
    watched = WatchedCheckpoint(model, reported.append)
    assert watched.tensor("norm.weight") is model.tensor("norm.weight")
    assert reported == [320]
    assert (watched.config, watched.stored, watched.missing) == (model.config, model.stored, [])
    assert watched.tokenizer() is None


def test_blocks_are_reported_with_their_bytes_in_the_file(source: Callable[..., Any]) -> None:
    reported: list[float] = []
    model = source()
    blocks = quantize(model.tensor("output.weight"), WeightKind.INT8)
    watched = WatchedCheckpoint(model, reported.append)
    assert watched.blocks("output.weight") is None
    assert reported == []
    model.blocks = lambda name: blocks
    assert watched.blocks("output.weight") is blocks
    assert reported == [model.stored["output.weight"].n_bytes]
