"""Fields of JSON files: what is missing or of another kind is named, and nothing else gets through."""

import math
from typing import Any

import pytest

from puna.core.errors import DataError
from puna.core.schema.lines import TrainLine
from puna.core.schema.part import parse

LINE = {"step": 1, "tokens": 256, "loss": 2.5, "lr": 1e-3, "grad_norm": 1, "tokens_per_second": 9.0, "unknown": [1]}


def test_known_fields_are_read_and_others_passed_over():
    line = parse(TrainLine, LINE, "file")
    assert line.model_dump(exclude_unset=True) == {key: value for key, value in LINE.items() if key != "unknown"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"loss": "low"}, "file: line 3: 'loss' should be a valid number, got 'low'"),
        ({"loss": math.nan}, "file: line 3: 'loss' should be a finite number, got nan"),
        ({"loss": None}, "file: line 3: 'loss' should be a valid number, got None"),
        ({"step": 1.5}, "file: line 3: 'step' should be a valid integer, got 1.5"),
        ({"mfu": {"causal": "x"}}, "file: line 3: 'mfu.causal' should be a valid number, got 'x'"),
        (
            {"source_tokens": {"prose": -1}},
            "file: line 3: 'source_tokens.prose' should be greater than or equal to 0, got -1",
        ),
        ({"data_wait": math.inf}, "file: line 3: 'data_wait' should be a finite number, got inf"),
        ({"step": -1}, "file: line 3: 'step' should be greater than or equal to 0, got -1"),
        ({"step": "7" * 90}, f"file: line 3: 'step' should be a valid integer, got '{'7' * 58}…"),
    ],
)
def test_wrong_value_is_named_with_what_was_expected(changes: dict[str, Any], sentence: str):
    with pytest.raises(DataError) as caught:
        parse(TrainLine, LINE | changes, "file: line 3")
    assert str(caught.value) == sentence


def test_missing_field_is_named():
    with pytest.raises(DataError, match=r"^file: 'loss' is missing$"):
        parse(TrainLine, {key: value for key, value in LINE.items() if key != "loss"}, "file")


@pytest.mark.parametrize("value", [[], None, 3, "text"])
def test_what_is_not_an_object_is_said_to_be_none(value: Any):
    with pytest.raises(DataError, match=r"^file should be a JSON object, got "):
        parse(TrainLine, value, "file")
