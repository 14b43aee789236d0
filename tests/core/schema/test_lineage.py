"""A parent of a run: strict, and small where little is known."""

import pytest

from puna.core.errors import DataError
from puna.core.schema.lineage import Parent
from puna.core.schema.part import parse


def test_a_parent_of_which_little_is_known_has_defaults():
    parent = parse(Parent, {"how": "continued", "run": "base", "place": "models/base"}, "here")
    assert (parent.step, parent.tokens, parent.weights, parent.changes, parent.optimizer) == (None, 0, "", [], "fresh")
    assert parse(Parent, parent.model_dump(), "here") == parent


def test_another_way_than_the_three_is_refused():
    with pytest.raises(DataError, match=r"here: 'how' should be 'extended', 'branched' or 'continued', got 'copied'"):
        parse(Parent, {"how": "copied", "run": "base", "place": "models/base"}, "here")
