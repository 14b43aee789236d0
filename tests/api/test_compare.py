"""`puna.compare`: figures of runs, and the page only where it is wanted."""

from pathlib import Path

import pytest
from compared_runs import compared_run

import puna
from puna.config.recipe import Recipe


def test_figures_are_returned_and_a_page_is_written_where_it_is_wanted(tiny: Recipe, tmp_path: Path):
    runs = [compared_run(tmp_path / name, tiny, level=level) for name, level in (("one", 4.0), ("two", 3.9))]
    found = puna.compare(runs)
    assert found.as_dict()["runs"][1]["mean_bits_per_byte"] == pytest.approx(2.95)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]
    assert puna.compare(runs, tmp_path / "new" / "page.html") == found
    assert "2 runs compared" in (tmp_path / "new" / "page.html").read_text()


def test_a_page_that_cannot_be_replaced_is_refused_before_anything_is_read(tmp_path: Path):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(puna.UserError, match="is not a comparison"):
        puna.compare([tmp_path / "nowhere", tmp_path], tmp_path / "mine")
