"""A run whose files are damaged in any one field gives its page or a sentence."""

import json
import math
from typing import Any

import pytest

from puna.core.errors import DataError
from puna.core.layout import RunDir
from puna.report.page import render
from puna.report.read import read_run

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
