"""Which directories training writes in."""

from pathlib import Path

import pytest

from puna.config.recipe import Recipe
from puna.core.errors import CheckpointError
from puna.core.layout import RunDir
from puna.core.records import Record
from puna.train.place import check_place


@pytest.mark.parametrize(
    ("stage", "holds"), [("import", "an imported model"), ("model", "the model of a run"), ("data", "a data build")]
)
def test_a_directory_of_something_else_is_refused_as_what_it_is(tiny: Recipe, tmp_path: Path, stage: str, holds: str):
    run = RunDir(tmp_path)
    Record(stage).write(run.record)
    with pytest.raises(CheckpointError, match=f"holds {holds}, not a training run") as caught:
        check_place(tiny, run)
    begins = f"`puna train {tiny.typed} --init-from {run} --run-dir {run}-2` begins a run with its weights"
    assert (begins in caught.value.hint) == (stage != "data")


@pytest.mark.parametrize("part", ["documents", "shards"])
def test_an_unfinished_data_build_is_refused_too(tiny: Recipe, tmp_path: Path, part: str):
    (tmp_path / part).mkdir()
    with pytest.raises(CheckpointError, match="holds an unfinished data build, not a training run"):
        check_place(tiny, RunDir(tmp_path))


def test_a_run_and_an_empty_place_are_not_refused(tiny: Recipe, tiny_run: RunDir, tmp_path: Path):
    check_place(tiny, tiny_run)
    check_place(tiny, RunDir(tmp_path))
    check_place(tiny, RunDir(tmp_path / "new"))
