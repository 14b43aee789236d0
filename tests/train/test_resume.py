"""Which runs may start, go on or are finished."""

import json
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from puna.config.recipe import Recipe
from puna.core.errors import CheckpointError
from puna.core.layout import DataDir, RunDir
from puna.train.resume import (
    MAY_CHANGE,
    MAY_CHANGE_BITS,
    begin,
    check_circumstances,
    check_data,
    check_recipe,
    is_finished,
    newest,
)


def _fingerprint(run: RunDir) -> str:
    return json.loads(run.record.read_text())["inputs"]["data"]


def _changed(recipe: Recipe, section: str, **values: object) -> Recipe:
    part = getattr(recipe, section).model_copy(update=values)
    return recipe.model_copy(update={section: part})


def test_finished_run_is_recognised_with_its_own_recipe(tiny: Recipe, tiny_run: RunDir):
    assert is_finished(tiny, tiny_run, _fingerprint(tiny_run))
    assert not is_finished(tiny, RunDir(tiny_run.root / "elsewhere"), "any")


def test_finished_run_on_other_data_is_not_passed_over(tiny: Recipe, tiny_run: RunDir):
    with pytest.raises(CheckpointError, match="other token shards"):
        is_finished(tiny, tiny_run, "0123456789abcdef")


def test_run_with_another_recipe_names_every_field_that_differs(tiny: Recipe, tiny_run: RunDir):
    other = _changed(_changed(tiny, "optim", lr=0.5), "model", ffn_dim=128)
    with pytest.raises(CheckpointError) as caught:
        is_finished(other, tiny_run, _fingerprint(tiny_run))
    assert "optim.lr: 0.01 -> 0.5" in caught.value.message
    assert "model.ffn_dim: 64 -> 128" in caught.value.message


def test_checkpoint_of_another_recipe_is_refused(tiny: Recipe, tiny_run: RunDir):
    saved = tiny.model_dump(exclude_none=True)
    with pytest.raises(CheckpointError, match=r"optim\.lr: 0\.01 -> 0\.5"):
        check_recipe(saved, _changed(tiny, "optim", lr=0.5), tiny_run, "the checkpoint")


def test_a_recipe_that_was_saved_before_a_key_existed_goes_on_with_its_default(tiny: Recipe, tiny_run: RunDir):
    saved = tiny.model_dump(exclude_none=True)
    del saved["train"]["float8"]
    check_recipe(saved, tiny, tiny_run, "the checkpoint")
    with pytest.raises(CheckpointError, match=r"train\.float8: false -> true"):
        check_recipe(saved, _changed(tiny, "train", float8=True), tiny_run, "the checkpoint")


def test_change_that_only_rounds_differently_is_warned_of(
    tiny: Recipe, tiny_run: RunDir, capsys: pytest.CaptureFixture[str]
):
    saved = tiny.model_dump(exclude_none=True)
    check_recipe(saved, _changed(tiny, "validation", every_steps=7), tiny_run, "the checkpoint")
    assert capsys.readouterr().err == ""
    check_recipe(saved, _changed(tiny, "train", micro_batch_tokens=64), tiny_run, "the checkpoint")
    warning = capsys.readouterr().err
    assert "train.micro_batch_tokens: 128 -> 64" in warning
    assert "not bit for bit" in warning


def test_other_machine_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    check_circumstances({"torch": "2.13", "threads": "2"}, {"torch": "2.13", "threads": "2"}, tmp_path)
    assert capsys.readouterr().err == ""
    check_circumstances({"torch": "2.13", "threads": "2"}, {"torch": "2.13", "threads": "4"}, tmp_path)
    assert "threads 2 -> 4" in capsys.readouterr().err


def test_finished_run_whose_model_was_deleted_is_not_finished(tiny: Recipe, tiny_run: RunDir, tmp_path: Path):
    copy = RunDir(tmp_path / "run")
    shutil.copytree(tiny_run.root, copy.root)
    shutil.rmtree(copy.model)
    assert not is_finished(tiny, copy, _fingerprint(copy))


def test_fields_that_change_no_weight_may_change(tiny: Recipe, tiny_run: RunDir):
    other = _changed(_changed(tiny, "validation", every_steps=7), "checkpoint", keep=9)
    assert is_finished(other, tiny_run, _fingerprint(tiny_run))


def test_every_key_that_may_change_exists(tiny: Recipe):
    for key in MAY_CHANGE + MAY_CHANGE_BITS:
        found: object = tiny
        for part in key.strip(".").split("."):
            found = getattr(found, part)


def test_other_data_are_refused(tiny_run: RunDir):
    with pytest.raises(CheckpointError, match="other token shards"):
        check_data("fedcba9876543210", "0123456789abcdef", tiny_run.root)


def test_new_run_does_not_overwrite_an_old_one(tmp_path: Path):
    run = RunDir(tmp_path)
    run.metrics.write_text("{}\n")
    run.config.write_text("")
    with pytest.raises(CheckpointError, match="holds a run already"):
        begin(run, force=False)
    assert run.metrics.exists()
    begin(run, force=True)
    assert not run.metrics.exists()


def test_force_leaves_alone_what_is_not_a_run(tmp_path: Path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "precious").write_text("")
    with pytest.raises(CheckpointError, match="is not a run of Puna"):
        begin(RunDir(tmp_path), force=True)
    assert (tmp_path / "model" / "precious").exists()


def test_remains_of_a_killed_save_are_swept_away(tiny: Recipe, tiny_run: RunDir, tmp_path: Path):
    copy = RunDir(tmp_path / "run")
    shutil.copytree(tiny_run.root, copy.root)
    process = subprocess.Popen(["true"])
    process.wait()
    remains = copy.checkpoints / f".tmp-{platform.node()}-{process.pid}-3-step-00000025"
    remains.mkdir()
    assert newest(tiny, copy) == copy.checkpoints / "step-00000024"
    assert not remains.exists()


def test_started_run_without_a_checkpoint_still_knows_its_recipe(tiny: Recipe, tiny_data: DataDir, tmp_path: Path):
    from puna.config.load import save_recipe

    run = RunDir(tmp_path)
    save_recipe(tiny, run.config)
    assert newest(tiny, run) is None
    with pytest.raises(CheckpointError, match=r"optim\.lr"):
        newest(_changed(tiny, "optim", lr=0.5), run)
