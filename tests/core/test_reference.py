"""What names a moment of a run, and what every other name gives."""

import json
import shutil
from pathlib import Path

import pytest

from puna.core.errors import CheckpointError
from puna.core.layout import RunDir
from puna.core.reference import Moment, find_moment, heldout_figures
from puna.core.schema.train_state import TrainState, directory_of, write_state

SHARES = {"prose": 3.0, "code": 1.0}


def saved(run: RunDir, *steps: int) -> None:
    for step in steps:
        directory = directory_of(run, step)
        directory.mkdir(parents=True)
        write_state(directory, TrainState(step=step, recipe={"mixture": SHARES}), {"shard-1.safetensors": "0" * 64})


def validated(run: RunDir, *lines: tuple[int, float, float], final: bool = False) -> None:
    with run.metrics.open("a") as file:
        for step, prose, code in lines:
            bits = {"prose": prose, "code": code}
            file.write(json.dumps({"kind": "validation", "step": step, "final": final, "bits_per_byte": bits}) + "\n")


def finished(run: RunDir) -> None:
    run.model.mkdir()
    (run.model / "model.toml").write_text("")


def step_of(place: object) -> int:
    moment = find_moment(str(place))
    assert moment is not None
    assert moment.directory == directory_of(moment.run, moment.step)
    return moment.step


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """An unfinished run with checkpoints of the steps 5, 10 and 15."""
    run = RunDir(tmp_path / "x")
    run.root.mkdir()
    run.config.write_text("")
    saved(run, 5, 10, 15)
    return run


@pytest.mark.parametrize("word", ["step-10", "10", "step-00000010"])
def test_a_step_is_named_with_and_without_its_word(run: RunDir, word: str):
    expected = Moment(run=run, step=10, directory=directory_of(run, 10))
    assert find_moment(f"{run}@{word}") == expected
    assert find_moment(Path(f"{run}@{word}")) == find_moment(f"{run}@{word}/") == expected
    assert expected.name == "step-10"


def test_the_directory_of_a_checkpoint_is_its_moment(run: RunDir):
    expected = Moment(run=run, step=10, directory=directory_of(run, 10))
    assert find_moment(directory_of(run, 10)) == expected


def test_a_checkpoint_named_from_within_its_run_knows_the_run(run: RunDir, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(directory_of(run, 10))
    for place in (".", "../step-00000010", "../../checkpoints/step-00000010"):
        moment = find_moment(place)
        assert moment is not None
        assert (moment.run, moment.step) == (run, 10), place
    monkeypatch.chdir(run.root)
    assert step_of("@last") == 15
    assert step_of(".@10") == 10


def test_a_copy_of_a_checkpoint_under_another_name_has_the_step_of_its_state(run: RunDir, tmp_path: Path):
    copy = shutil.copytree(directory_of(run, 10), tmp_path / "copy")
    moment = find_moment(copy)
    assert moment is not None
    assert moment == Moment(run=RunDir(copy), step=10, directory=copy)


def test_an_unfinished_run_and_last_mean_the_newest_checkpoint(run: RunDir):
    assert step_of(run) == step_of(f"{run}@last") == 15


def test_a_finished_run_means_its_model_and_its_checkpoints_stay_moments(run: RunDir):
    finished(run)
    assert find_moment(run) is None
    assert find_moment(run.model) is None
    assert step_of(f"{run}@last") == 15
    assert step_of(f"{run}@5") == 5


def test_a_step_that_is_not_there_is_refused_with_those_that_are(run: RunDir):
    with pytest.raises(CheckpointError, match="x: has no checkpoint step-00000007") as caught:
        find_moment(directory_of(run, 7))
    assert caught.value.hint.startswith("there are steps 5, 10, 15; checkpoint.keep")
    with pytest.raises(CheckpointError, match="x: has no checkpoint of step 7") as caught:
        find_moment(f"{run}@step-7")
    assert caught.value.hint.startswith("there are steps 5, 10, 15; checkpoint.keep")
    saved(run, *range(100, 200))
    with pytest.raises(CheckpointError) as caught:
        find_moment(f"{run}@7")
    assert caught.value.hint.startswith("there are steps 5, 10, 15, 100, 101, 102, …, 194, 195, 196, 197, 198, 199;")


@pytest.mark.parametrize("word", ["latest", "step400", "step-", "-1", "1e3", "LAST", ""])
def test_a_word_that_names_nothing_is_refused_with_those_that_there_are(run: RunDir, word: str):
    with pytest.raises(CheckpointError, match=f"'{word}' is not a moment of a run, expected step-400") as caught:
        find_moment(f"{run}@{word}")
    assert caught.value.hint.startswith("there are steps 5, 10, 15;")


def test_a_run_without_checkpoints_says_so_and_how_it_gets_them(tmp_path: Path):
    run = RunDir(tmp_path / "new")
    run.root.mkdir()
    run.config.touch()
    run.metrics.touch()
    for place in (run, f"{run}@last", f"{run}@best"):
        with pytest.raises(CheckpointError, match="new: has no finished model and no checkpoint yet") as caught:
            find_moment(place)
        assert "--resume" in caught.value.hint


def test_a_finished_run_whose_checkpoints_were_deleted_offers_its_model(run: RunDir):
    finished(run)
    shutil.rmtree(run.checkpoints)
    for word in ("last", "best"):
        with pytest.raises(CheckpointError, match="x: has no checkpoints") as caught:
            find_moment(f"{run}@{word}")
        assert caught.value.hint == f"{run} alone is its finished model"


def test_what_exists_under_the_whole_name_is_a_path(run: RunDir):
    other = RunDir(run.root.with_name("x@5"))
    saved(other, 1)
    assert step_of(other) == 1
    assert step_of(f"{other}@last") == 1


def test_all_other_places_give_none(run: RunDir, tmp_path: Path):
    model = tmp_path / "models" / "m"
    model.mkdir(parents=True)
    (model / "model.toml").touch()
    (tmp_path / "state.json").write_text("{}")
    nothing = ("missing", "missing@last", "owner/name@main", f"{model}@main", model, tmp_path / "state.json")
    for place in (*nothing, tmp_path, run.config, run.checkpoints):
        assert find_moment(place) is None, place


def test_a_moment_of_another_directory_is_refused(tmp_path: Path):
    with pytest.raises(CheckpointError, match="is not a training run, so there is no 'step-5' of it"):
        find_moment(f"{tmp_path}@step-5")


def test_a_damaged_checkpoint_is_refused_as_one(run: RunDir):
    (directory_of(run, 10) / "state.json").unlink()
    with pytest.raises(CheckpointError, match=r"state\.json: is missing or damaged"):
        find_moment(directory_of(run, 10))


def test_the_best_is_the_checkpoint_with_the_lowest_mean_by_the_mixture(run: RunDir):
    validated(run, (5, 1.0, 9.0), (10, 2.0, 4.0), (15, 2.5, 2.0))  # (3 prose + code) / 4 = 3, 2.5, 2.375
    assert step_of(f"{run}@best") == 15
    moment = find_moment(f"{run}@best")
    assert moment is not None
    assert moment.why == "the lowest of the kept checkpoints on held-out text: 2.3750 bits per byte"
    validated(run, (10, 2.0, 3.0))  # a later line of the step takes the place of the first
    assert step_of(f"{run}@best") == 10


def test_a_checkpoint_counts_with_the_last_validation_up_to_its_step_and_the_nearest_is_taken(run: RunDir):
    validated(run, (4, 3.0, 3.0), (8, 2.0, 2.0))
    moment = find_moment(f"{run}@best")
    assert moment is not None
    assert moment.step == 10
    assert moment.why.endswith("2.0000 bits per byte at step 8")
    validated(run, (16, 0.1, 0.1))  # no checkpoint has learned as much
    assert step_of(f"{run}@best") == 10


def test_the_validation_of_all_held_out_text_is_not_compared_with_those_of_a_part(run: RunDir):
    validated(run, (15, 1.0, 1.0), final=True)
    assert heldout_figures(run, SHARES) == {15: 1.0}
    assert step_of(f"{run}@best") == 15
    validated(run, (5, 2.0, 2.0), (10, 3.0, 3.0))
    assert heldout_figures(run, SHARES) == {5: 2.0, 10: 3.0}
    assert step_of(f"{run}@best") == 5


def test_without_a_validation_no_checkpoint_is_the_best(run: RunDir):
    for lines in ((), ((20, 1.0, 1.0),)):
        validated(run, *lines)
        with pytest.raises(CheckpointError, match="no validation was made up to its checkpoints"):
            find_moment(f"{run}@best")


def test_figures_that_are_not_numbers_are_passed_over_and_unknown_sources_count_the_same(run: RunDir):
    validated(run, (1, 1.0, float("nan")), (2, 1.0, 3.0))
    with run.metrics.open("a") as file:
        for bits in ({}, None, [1.0], {"prose": "1"}):
            file.write(json.dumps({"kind": "validation", "step": 3, "bits_per_byte": bits}) + "\n")
    assert heldout_figures(run, {"other": 1.0}) == {2: 2.0}
    assert heldout_figures(run, SHARES) == {2: 1.5}
