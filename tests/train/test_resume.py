"""Which runs may start, go on or are finished."""

import json
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from puna.config.load import save_recipe
from puna.config.paths import beside
from puna.config.recipe import Recipe
from puna.core.errors import CheckpointError
from puna.core.layout import DataDir, RunDir
from puna.core.records import Record
from puna.core.schema.train_state import directory_of
from puna.train import resume
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


@pytest.fixture
def finished(tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """A run with the record of its end, whose model is taken as it is."""
    run = RunDir(tmp_path / "finished")
    record = Record("train", config=tiny.model_dump(exclude_none=True))
    record.inputs = {"data": "0123456789abcdef"}
    record.write(run.record)
    monkeypatch.setattr(resume, "resolve_model", lambda path: RunDir(path).model)
    return run


def test_a_run_is_finished_with_its_recipe_its_data_and_its_model(
    tiny: Recipe, finished: RunDir, monkeypatch: pytest.MonkeyPatch
):
    assert is_finished(tiny, finished, "0123456789abcdef") is True
    with pytest.raises(CheckpointError) as caught:
        is_finished(_changed(tiny, "optim", lr=0.5), finished, "0123456789abcdef")
    assert caught.value.message == f"{finished.root}: is finished, but with another recipe: optim.lr: 0.01 -> 0.5"
    with pytest.raises(CheckpointError) as caught:
        is_finished(tiny, finished, "fedcba9876543210")
    assert caught.value.message.startswith(f"{finished.root}: was trained on other token shards")
    monkeypatch.setattr(resume, "resolve_model", lambda path: path / "elsewhere")
    assert is_finished(tiny, finished, "0123456789abcdef") is False

    def missing(path: Path) -> Path:
        raise CheckpointError("there is no model")

    monkeypatch.setattr(resume, "resolve_model", missing)
    assert is_finished(tiny, finished, "0123456789abcdef") is False


def test_a_record_that_names_no_data_is_of_other_data(tiny: Recipe, finished: RunDir):
    record = json.loads(finished.record.read_text())
    finished.record.write_text(json.dumps(record | {"inputs": {}}))
    with pytest.raises(CheckpointError, match=r"fingerprint , these have 0123456789ab"):
        is_finished(tiny, finished, "0123456789abcdef")


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


def test_circumstances_that_nobody_noted_are_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    check_circumstances({}, {"torch": "2.13"}, tmp_path)
    assert capsys.readouterr().err == ""
    check_circumstances({"torch": "2.13"}, {"torch": "2.13", "device": "cpu"}, tmp_path)
    assert capsys.readouterr().err == ""


def test_every_circumstance_that_changed_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    check_circumstances({"torch": "2.12", "threads": "2"}, {"torch": "2.13", "threads": "4"}, tmp_path / "run")
    warned = " ".join(capsys.readouterr().err.split())
    assert "run: was made elsewhere (threads 2 -> 4; torch 2.12 -> 2.13); " in warned
    assert "weights will be equal to rounding, not bit for bit" in warned


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


def test_other_data_are_refused_with_both_fingerprints(tmp_path: Path):
    with pytest.raises(CheckpointError) as caught:
        check_data("fedcba9876543210", "0123456789abcdef", tmp_path)
    assert caught.value.message == (
        f"{tmp_path}: was trained on other token shards (fingerprint fedcba987654, these have 0123456789ab)"
    )
    for way in ("build the data as they were", "--run-dir", "--force"):
        assert way in caught.value.hint
    check_data("0123456789abcdef", "0123456789abcdef", tmp_path)


PART = {
    "description": {"description": "another"}, "chat_recipe": {"chat_recipe": "chat"},
    "train.log_every": {"train": {"log_every": 9}},
    "max_epochs": {"max_epochs": {"prose": 4.0}},
    "stability.": {"stability": {"action": "stop"}}, "validation.": {"validation": {"every_steps": 3}},
    "evaluation.": {"evaluation": {"tasks": ["harness/copa"]}},
    "samples.": {"samples": {"max_tokens": 3}}, "checkpoint.": {"checkpoint": {"keep": 5}},
    "energy.": {"energy": {"pue": 1.5}}, "metrics.": {"metrics": {"wandb_project": "mine"}},
    "parallel.": {"parallel": {"replicate": 2}}, "train.micro_batch_tokens": {"train": {"micro_batch_tokens": 64}},
    "train.loss_chunk_tokens": {"train": {"loss_chunk_tokens": 64}}, "train.compile": {"train": {"compile": True}},
    "train.recompute": {"train": {"recompute": "full"}},
}  # fmt: skip
"""A change of each kind that a run may go on with."""


def _with(recipe: Recipe, change: dict[str, Any]) -> Recipe:
    table = recipe.model_dump()
    for name, value in change.items():
        table[name] = table[name] | value if isinstance(value, dict) else value
    return Recipe.model_validate(table)


@pytest.mark.parametrize("kind", MAY_CHANGE + MAY_CHANGE_BITS)
def test_a_run_goes_on_with_every_change_that_it_may_and_is_warned_of_those_that_round(
    tiny: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
):
    check_recipe(tiny.model_dump(exclude_none=True), _with(tiny, PART[kind]), RunDir(tmp_path), "the checkpoint")
    warned = " ".join(capsys.readouterr().err.split())
    assert bool(warned) == (kind in MAY_CHANGE_BITS)
    if warned:
        assert f"the checkpoint; now {kind}" in warned
        assert "weights will be equal to rounding, not bit for bit" in warned


def test_the_share_that_is_held_out_of_given_examples_follows_from_them(tiny: Recipe, tmp_path: Path):
    source = tiny.model_dump()["data"]["sources"]["code"]

    def held_out(share: float) -> Recipe:
        sources = tiny.model_dump()["data"]["sources"] | {"examples": source | {"heldout_fraction": share}}
        return _with(tiny, {"data": {"sources": sources}, "mixture": dict.fromkeys(sources, 1.0)})

    check_recipe(held_out(0.1).model_dump(exclude_none=True), held_out(0.2), RunDir(tmp_path), "the checkpoint")
    sources = tiny.model_dump()["data"]["sources"] | {"code": source | {"heldout_fraction": 0.5}}
    other = _with(tiny, {"data": {"sources": sources}})
    with pytest.raises(CheckpointError, match=r"data\.sources\.code\.heldout_fraction"):
        check_recipe(tiny.model_dump(exclude_none=True), other, RunDir(tmp_path), "the checkpoint")


def test_several_changes_that_round_are_named_in_one_sentence(
    tiny: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    other = _with(tiny, {"train": {"compile": True, "micro_batch_tokens": 64}})
    check_recipe(tiny.model_dump(exclude_none=True), other, RunDir(tmp_path), "the checkpoint")
    warned = " ".join(capsys.readouterr().err.split())
    assert "now train.compile: false -> true; train.micro_batch_tokens: 128 -> 64: weights" in warned


def test_a_change_that_a_run_may_not_make_is_named_alone_with_what_to_do(tiny: Recipe, tmp_path: Path):
    other = _with(tiny, PART["train.compile"] | PART["validation."] | {"seed": 4, "optim": {"lr": 0.5}})
    with pytest.raises(CheckpointError) as caught:
        check_recipe(tiny.model_dump(exclude_none=True), other, RunDir(tmp_path), "the checkpoint")
    assert caught.value.message == "the checkpoint, but with another recipe: optim.lr: 0.01 -> 0.5; seed: 3 -> 4"
    for way in ("give these values back", "--run-dir", f"start {tmp_path} again with --force"):
        assert way in caught.value.hint


@pytest.mark.parametrize(("change", "offered"), [({"optim": {"lr": 0.5}}, True), ({"model": {"dim": 64}}, False)])
def test_a_new_run_from_the_weights_is_offered_where_they_fit(
    tiny: Recipe, tmp_path: Path, change: dict[str, Any], offered: bool
):
    run = RunDir(tmp_path)
    directory_of(run, 5).mkdir(parents=True)
    with pytest.raises(CheckpointError) as caught:
        check_recipe(tiny.model_dump(exclude_none=True), _with(tiny, change), run, "the checkpoint")
    again = f"`puna train tiny --init-from {tmp_path} --run-dir {tmp_path}-2`"
    assert (f"begin a new run from these weights with {again}" in caught.value.hint) == offered


def test_where_the_run_has_the_recipe_its_own_command_is_named(tiny: Recipe, tmp_path: Path):
    longer = _with(tiny, {"train": {"tokens": 9216}})
    run = RunDir(tmp_path / "run")
    for own in (tiny, longer):
        save_recipe(own, run.config)
        with pytest.raises(CheckpointError) as caught:
            check_recipe(beside(longer.model_dump(exclude_none=True), run.root), tiny, run, "the checkpoint")
        named = f"give these values back (`puna train {run} --resume` takes those of the run)" in caught.value.hint
        assert named == (own is longer)


def test_a_section_that_a_saved_recipe_lacks_stays_lacking(tiny: Recipe, tmp_path: Path):
    saved = tiny.model_dump(exclude_none=True)
    del saved["optim"]
    with pytest.raises(CheckpointError, match="optim"):
        check_recipe(saved, tiny, RunDir(tmp_path), "the checkpoint")


@pytest.mark.parametrize("left", ["record", "metrics", "checkpoints", "model"])
def test_new_run_does_not_overwrite_an_old_one(tmp_path: Path, left: str):
    run = RunDir(tmp_path)
    path: Path = getattr(run, left)
    if left in ("checkpoints", "model"):
        path.mkdir()
    else:
        path.write_text("{}\n")
    with pytest.raises(CheckpointError) as caught:
        begin(run, force=False)
    assert caught.value.message == f"{tmp_path}: holds a run already"
    assert caught.value.hint == (
        "--resume goes on with it, --force deletes it and starts again, --run-dir chooses another directory"
    )
    assert path.exists()


@pytest.mark.parametrize("known_by", ["metrics", "record"])
def test_force_deletes_all_of_a_run_and_nothing_else(tmp_path: Path, known_by: str):
    run = RunDir(tmp_path)
    for file in (run.config, getattr(run, known_by), run.report, tmp_path / "notes.txt"):
        file.write_text("")
    for directory in (run.tensorboard, run.checkpoints, run.model, run.exports, run.evaluations, tmp_path / "mine"):
        directory.mkdir()
        (directory / "file").write_text("")
    begin(run, force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "notes.txt"]
    begin(run, force=False)


def test_a_new_run_gets_the_examples_that_were_written_for_it(tmp_path: Path):
    run = RunDir(tmp_path)
    for directory in (run.examples, run.next_examples):
        directory.mkdir()
        (directory / directory.name).write_text("")
    for file in (run.config, run.metrics):
        file.write_text("")
    begin(run, force=True)
    assert [path.name for path in run.root.rglob("*")] == ["examples", "next-examples"]


@pytest.mark.parametrize("lacking", ["config", "metrics"])
def test_force_deletes_only_what_is_known_as_a_run(tmp_path: Path, lacking: str):
    run = RunDir(tmp_path)
    run.model.mkdir()
    (run.metrics if lacking == "config" else run.config).write_text("")
    with pytest.raises(CheckpointError) as caught:
        begin(run, force=True)
    assert "--run-dir" in caught.value.hint
    assert run.model.exists()


def test_what_is_left_of_an_interrupted_deletion_is_still_known_as_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = RunDir(tmp_path)
    run.model.mkdir()
    for file in (run.config, run.metrics):
        file.write_text("")

    def interrupted(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(resume, "discard", interrupted)
    with pytest.raises(KeyboardInterrupt):
        begin(run, force=True)
    assert run.config.exists()


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


def test_of_several_checkpoints_the_newest_is_taken_whatever_its_recipe(tiny: Recipe, tmp_path: Path):
    run = RunDir(tmp_path)
    for step in (5, 20, 15):
        (run.checkpoints / f"step-{step:08d}").mkdir(parents=True)
    run.config.write_text("")
    assert newest(tiny, run) == run.checkpoints / "step-00000020"


def test_remains_that_cannot_be_deleted_stop_nothing(
    tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):  # fmt: skip
    run = RunDir(tmp_path)
    for name in (".tmp-a-step-00000009", ".tmp-b-step-00000009", "step-00000005"):
        (run.checkpoints / name).mkdir(parents=True)
    remove, asked = resume.remove, []

    def refused(path: Path) -> None:
        asked.append(path.name)
        if len(asked) == 1:
            raise PermissionError(13, "Permission denied")
        remove(path)

    monkeypatch.setattr(resume, "remove", refused)
    assert newest(tiny, run) == run.checkpoints / "step-00000005"
    assert sorted(asked) == [".tmp-a-step-00000009", ".tmp-b-step-00000009"]
    assert len(list(run.checkpoints.iterdir())) == 2


def test_a_directory_in_which_nothing_was_begun_has_no_checkpoint(tiny: Recipe, tmp_path: Path):
    assert newest(tiny, RunDir(tmp_path / "nowhere")) is None


def test_started_run_without_a_checkpoint_still_knows_its_recipe(tiny: Recipe, tiny_data: DataDir, tmp_path: Path):
    from puna.config.load import save_recipe

    run = RunDir(tmp_path)
    save_recipe(tiny, run.config)
    assert newest(tiny, run) is None
    with pytest.raises(CheckpointError, match=r"optim\.lr"):
        newest(_changed(tiny, "optim", lr=0.5), run)
