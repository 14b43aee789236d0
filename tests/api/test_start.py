"""Where training begins: which recipe and which directory are meant by what a user names."""

import shutil
from pathlib import Path

import pytest

from puna.api.start import find_start, parents_recipe
from puna.config.recipe import Recipe
from puna.core.errors import CheckpointError, ConfigError, TrainError
from puna.core.layout import DataDir, RunDir

NOTHING = {
    "run": None, "resume": False, "force": False, "extend": None, "schedule": None, "branch_from": None,
    "init_from": None, "optimizer": None,
}  # fmt: skip


@pytest.fixture
def here(tiny_run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a run of another name than its recipe's."""
    shutil.copytree(tiny_run.root, tmp_path / "runs" / "two")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_directory_of_a_run_is_its_recipe_and_itself(here: Path, tiny: Recipe):
    start = find_start("runs/two", **NOTHING)
    assert (start.recipe, start.run, start.state) == (tiny, RunDir(Path("runs/two")), None)
    assert find_start("runs/two", **NOTHING | {"run": "elsewhere"}).run == RunDir(Path("elsewhere"))


def test_a_config_of_a_run_is_a_recipe_and_the_run_where_it_is_to_go_on(here: Path):
    config = "runs/two/config.toml"
    assert find_start(config, **NOTHING).run == RunDir(Path("runs/tiny"))
    assert find_start(config, **NOTHING | {"resume": True}).run == RunDir(Path("runs/two"))
    assert find_start(config, **NOTHING | {"extend": "2x"}).run == RunDir(Path("runs/two"))


def test_a_data_build_is_a_recipe_and_no_run(here: Path, tiny: Recipe, tiny_data: DataDir):
    start = find_start(tiny_data, **NOTHING | {"resume": True})
    assert (start.recipe, start.run) == (tiny, RunDir(Path("runs/tiny")))


@pytest.mark.parametrize(
    ("options", "directory"),
    [({}, "runs/two-from-20"), ({"run": "runs/three"}, "runs/three")],
)
def test_a_branch_goes_beside_its_parent_unless_a_place_is_named(here: Path, options: dict[str, str], directory: str):
    start = find_start(None, **NOTHING | {"branch_from": "runs/two@20"} | options)
    assert start.run == RunDir(Path(directory))
    assert start.recipe.name == "tiny"


def test_a_branch_by_another_name_goes_where_runs_of_that_name_go(here: Path, tiny: Recipe):
    other = tiny.model_copy(update={"name": "other"})
    assert find_start(other, **NOTHING | {"branch_from": "runs/two@20"}).run == RunDir(Path("runs/other"))


def test_a_branch_never_goes_where_its_parent_is(here: Path, tiny: Recipe):
    """With `force` it would delete what it is to begin with."""
    for recipe, run in ((None, "runs/two"), (tiny.model_copy(update={"name": "two"}), None)):
        with pytest.raises(TrainError, match="--run-dir runs/two: is the run that is branched from") as caught:
            find_start(recipe, **NOTHING | {"branch_from": "runs/two@20", "run": run, "force": True})
        assert caught.value.hint == "`--run-dir runs/two-from-20` is another"


def test_a_finished_run_alone_branches_from_its_end(here: Path):
    longer = NOTHING | {"branch_from": "runs/two", "extend": "2x"}
    assert find_start(None, **longer).run == RunDir(Path("runs/two-from-24"))
    assert parents_recipe("runs/two@20") == "runs/two/config.toml"


@pytest.mark.parametrize(
    ("recipe", "options", "words"),
    [
        (None, {}, "which recipe is to be trained was not said"),
        ("runs/two", {"schedule": "linear"}, "--schedule is for what --extend and --branch-from add"),
        (
            "runs/two",
            {"extend": "2x", "schedule": "steps"},
            "--schedule steps: is none of cosine, linear, wsd, constant",
        ),
        ("runs/two", {"extend": "2x", "force": True}, "give one of them"),
        (
            "runs/two",
            {"extend": "2x", "init_from": "runs/two"},
            "--init-from begins a run with a model's weights alone",
        ),
        ("runs/two", {"optimizer": "keep"}, "--optimizer keep is for --init-from RUN@STEP"),
        (None, {"branch_from": "runs/two/model"}, "is not a moment of a run"),
        (None, {"branch_from": "runs/none"}, "is not a moment of a run"),
        (None, {"branch_from": "runs/two@7"}, "has no checkpoint of step 7"),
        (None, {"branch_from": "runs/two@20", "run": "runs/../runs/two"}, "is the run that is branched from"),
    ],
)
def test_what_does_not_go_together_is_refused(here: Path, recipe: str | None, options: dict[str, object], words: str):
    with pytest.raises((ConfigError, TrainError, CheckpointError), match=words):
        find_start(recipe, **NOTHING | options)


def test_a_checkpoint_without_its_runs_recipe_needs_one(here: Path):
    Path("runs/two/config.toml").unlink()
    with pytest.raises(CheckpointError, match=r"has no config\.toml, so the recipe of a branch is not known"):
        find_start(None, **NOTHING | {"branch_from": "runs/two/checkpoints/step-00000020"})
