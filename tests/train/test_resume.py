"""Which runs may start, go on or are finished."""

import json
from pathlib import Path

import pytest

from puna.config.recipe import Recipe
from puna.core.errors import CheckpointError
from puna.core.layout import DataDir, RunDir
from puna.train.resume import MAY_CHANGE, begin, is_finished, newest


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
    with pytest.raises(CheckpointError, match=r"optim\.lr"):
        newest(other, tiny_run, "any")


def test_fields_that_change_no_weight_may_change(tiny: Recipe, tiny_run: RunDir):
    other = _changed(_changed(tiny, "validation", every_steps=7), "checkpoint", keep=9)
    assert is_finished(other, tiny_run, _fingerprint(tiny_run))


def test_every_key_that_may_change_exists(tiny: Recipe):
    for key in MAY_CHANGE:
        found: object = tiny
        for part in key.strip(".").split("."):
            found = getattr(found, part)


def test_other_data_are_refused(tiny: Recipe, tiny_run: RunDir):
    with pytest.raises(CheckpointError, match="other token shards"):
        newest(tiny, tiny_run, "0123456789abcdef")


def test_new_run_does_not_overwrite_an_old_one(tmp_path: Path):
    run = RunDir(tmp_path)
    run.metrics.write_text("{}\n")
    with pytest.raises(CheckpointError, match="holds a run already"):
        begin(run, force=False)
    assert run.metrics.exists()
    begin(run, force=True)
    assert not run.metrics.exists()


def test_started_run_without_a_checkpoint_still_knows_its_recipe(tiny: Recipe, tiny_data: DataDir, tmp_path: Path):
    from puna.config.load import save_recipe

    run = RunDir(tmp_path)
    save_recipe(tiny, run.config)
    assert newest(tiny, run, "any") is None
    with pytest.raises(CheckpointError, match=r"optim\.lr"):
        newest(_changed(tiny, "optim", lr=0.5), run, "any")
