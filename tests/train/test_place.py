"""Which directories training writes in."""

from pathlib import Path

import pytest

from puna.core.errors import CheckpointError
from puna.core.layout import RunDir
from puna.core.records import Record
from puna.train.place import check_place


@pytest.mark.parametrize(
    ("stage", "holds"), [("import", "an imported model"), ("model", "the model of a run"), ("data", "a data build")]
)
def test_a_directory_of_something_else_is_refused_as_what_it_is(tmp_path: Path, stage: str, holds: str):
    run = RunDir(tmp_path)
    Record(stage).write(run.record)
    with pytest.raises(CheckpointError, match=f"holds {holds}, not a training run") as caught:
        check_place(run)
    assert ("--init-from" in caught.value.hint) == (stage != "data")


@pytest.mark.parametrize("part", ["documents", "shards"])
def test_an_unfinished_data_build_is_refused_too(tmp_path: Path, part: str):
    (tmp_path / part).mkdir()
    with pytest.raises(CheckpointError, match="holds an unfinished data build, not a training run"):
        check_place(RunDir(tmp_path))


def test_a_run_and_an_empty_place_are_not_refused(tiny_run: RunDir, tmp_path: Path):
    check_place(tiny_run)
    check_place(RunDir(tmp_path))
    check_place(RunDir(tmp_path / "new"))
