"""The fields that the report reads: what is not there or something else is named, and nothing else gets through."""

import json
import math
from typing import Any

import pytest

from puna.core.errors import DataError
from puna.core.layout import RunDir
from puna.report.page import render
from puna.report.read import read_run
from puna.report.schema import TrainLine, parse

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
def test_what_is_no_object_is_said_to_be_none(value: Any):
    with pytest.raises(DataError, match=r"^file should be a JSON object, got "):
        parse(TrainLine, value, "file")


UNREAD = {
    *(("record.json", "config", name) for name in ("data", "train", "optim", "tokenizer", "validation", "checkpoint")),
    *(("exports/hf/equivalence.json", name) for name in ("machine", "packages", "command", "started", "seconds")),
}
WRONG = [None, "", "x", "\ud800", -1, 0, 0.5, 10**400, math.inf, True, [], {}, [[]], {"a": None}]


@pytest.mark.parametrize("name", ["record.json", "data_card.json", "exports/hf/equivalence.json"])
def test_any_damaged_field_gives_a_page_or_a_sentence(report_run: RunDir, name: str, monkeypatch: pytest.MonkeyPatch):
    """Every value of the file in turn, replaced by every kind of wrong one, or taken away."""
    monkeypatch.setattr("plotly.offline.get_plotlyjs", lambda: "")
    path = report_run.root / name
    whole = json.loads(path.read_text())
    places = [place for place in _places(whole) if not UNREAD.intersection({(name, place[0]), (name, *place[:2])})]
    pages, refusals = 0, []
    for index, place in enumerate(places):
        # Each place meets two of the wrong values; each of these meets many places.
        for value in (_Gone, WRONG[2 * index % len(WRONG)], WRONG[(2 * index + 1) % len(WRONG)]):
            path.write_text(json.dumps(_replaced(whole, place, value)))
            try:
                render(read_run(report_run)).encode()
                pages += 1
            except DataError as error:
                refusals.append(error.message)
    assert pages
    assert len(refusals) > len(places) / 2
    assert all(sentence.startswith(str(report_run.root)) for sentence in refusals)


class _Gone:
    """Stands for no value at all."""


def _places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [place for key, child in children for place in _places(child, (*above, key))]
    return [above, *found] if above else found


def _replaced(whole: Any, place: tuple[Any, ...], value: Any) -> Any:
    copy = json.loads(json.dumps(whole))
    inner = copy
    for key in place[:-1]:
        inner = inner[key]
    if value is _Gone:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return copy
