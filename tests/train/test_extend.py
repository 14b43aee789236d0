"""Runs that were made longer: the bits of a run of their recipe from the beginning, and nothing lost on the way."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import puna
from puna.config.load import load_recipe, save_recipe
from puna.config.paths import beside
from puna.config.recipe import Phase, Recipe
from puna.core.errors import CheckpointError, DataError, StorageError, TrainError
from puna.core.layout import DataDir, RunDir
from puna.core.metrics import read_metrics
from puna.core.schema.train_state import directory_of, list_checkpoints, read_header
from puna.train import extend as extending
from puna.train.extend import plan_extension


def weights(run: RunDir) -> dict[str, torch.Tensor]:
    return load_file(run.model / "model.safetensors")


def tensors(run: RunDir, step: int) -> dict[str, torch.Tensor]:
    return load_file(next(dict(list_checkpoints(run))[step].glob("*.safetensors")))


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def losses(run: RunDir) -> dict[int, float]:
    return {line["step"]: line["loss"] for line in read_metrics(run.metrics) if line["kind"] == "train"}


def recipe_of(run: RunDir) -> Recipe:
    return load_recipe(str(run.config)).recipe


def copied(run: RunDir, root: Path) -> RunDir:
    shutil.copytree(run.root, root)
    return RunDir(root)


def changed(recipe: Recipe, section: str, **values: object) -> Recipe:
    return recipe.model_copy(update={section: getattr(recipe, section).model_copy(update=values)})


def quiet(recipe: Recipe) -> Recipe:
    """The recipe without samples and validations, which change no bit of the state."""
    return changed(changed(recipe, "samples", prompts=[]), "validation", every_steps=1000)


@pytest.fixture(scope="module")
def extended(tiny_run: RunDir, tiny_data: DataDir, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """The tiny run of 24 steps, made half as long again, interrupted at step 31."""
    run = copied(tiny_run, tmp_path_factory.mktemp("extended") / "tiny")
    puna.train(run, tiny_data, extend="1.5x", stop_at=31)
    return run


def test_until_the_longer_run_has_ended_the_model_is_the_shorter_ones(extended: RunDir, tiny_run: RunDir):
    assert same(weights(extended), weights(tiny_run))
    assert extended.record.read_bytes() == tiny_run.record.read_bytes()
    assert recipe_of(extended).total_steps == 36


def test_an_extended_run_has_the_bits_of_its_recipe_from_the_beginning(
    extended: RunDir, tiny_data: DataDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run, whole = copied(extended, tmp_path / "run"), RunDir(tmp_path / "whole")
    puna.train(run, tiny_data, resume=True)
    puna.train(quiet(recipe_of(run)), tiny_data, whole, stop_at=35)
    assert same(tensors(run, 35), tensors(whole, 35))
    assert losses(run) == losses(whole) | {36: losses(run)[36]}
    assert sorted(losses(run)) == list(range(1, 37))
    final = {name.removeprefix("model."): tensor for name, tensor in tensors(run, 36).items()}
    assert all(torch.equal(tensor, final[name]) for name, tensor in weights(run).items())
    finals = [line["step"] for line in read_metrics(run.metrics) if line.get("final")]
    assert finals == [36]
    # It has ended: the record is of the longer run, and says where it comes from.
    record = json.loads(run.record.read_text())
    assert record["config"] == recipe_of(run).model_dump(exclude_none=True)
    (parent,) = record["results"]["lineage"]
    assert (parent["how"], parent["run"], parent["step"], parent["tokens"]) == ("extended", "tiny", 24, 6144)
    assert (parent["optimizer"], len(parent["weights"])) == ("kept", 64)
    assert [line.partition(":")[0] for line in parent["changes"]] == ["optim.phases", "train.tokens"]
    assert "train.tokens: 6144 -> 9216" in parent["changes"]
    capsys.readouterr()
    puna.train(run, tiny_data, resume=True)
    assert "trained already" in capsys.readouterr().err


def test_the_same_command_again_goes_on_and_makes_the_run_no_longer(
    extended: RunDir, tiny_data: DataDir, tmp_path: Path
):
    run = copied(extended, tmp_path / "run")
    before = recipe_of(run)
    for amount in ("1.5x", "9216", "+3072"):
        plan = plan_extension(run, before, amount, None)
        assert (plan.parent, plan.recipe) == (None, before)
    puna.train(run, tiny_data, extend="1.5x", stop_at=33)
    assert recipe_of(run) == before
    state, _ = read_header(list_checkpoints(run)[-1][1])
    assert (state.step, len(state.lineage)) == (33, 1)


def test_another_amount_is_counted_from_the_length_before_the_extension_under_way(extended: RunDir):
    plan = plan_extension(extended, recipe_of(extended), "2x", "linear")
    assert (plan.recipe.train.tokens, plan.step) == (2 * 6144, 31)
    assert [(phase.from_tokens, phase.schedule) for phase in plan.recipe.optim.phases] == [
        (6144, "cosine"), (31 * 256, "linear"),
    ]  # fmt: skip
    with pytest.raises(TrainError, match=r"--extend 1\.2x: makes 7424 tokens, and .* has 9216 as its length"):
        plan_extension(extended, recipe_of(extended), "1.2x", None)


@pytest.mark.parametrize("finished", [True, False])
def test_a_second_extension_that_is_given_again_makes_the_run_no_longer(
    extended: RunDir, tmp_path: Path, finished: bool
):
    """However often, as a launcher that starts its command again would: lengths count from what has ended."""
    run = copied(extended, tmp_path / "run")
    if not finished:
        run.record.unlink()
    fingerprint = read_header(list_checkpoints(run)[-1][1])[0].data_fingerprint
    for amount, tokens in (("2x", 12288), ("2x", 12288), ("2.5x", 15360), ("2.5x", 15360), ("+9216", 15360)):
        plan_extension(run, recipe_of(run), amount, None).apply(run, fingerprint)
        assert recipe_of(run).train.tokens == tokens
    changes = [parent.changes[-1] for parent in read_header(list_checkpoints(run)[-1][1])[0].lineage]
    assert changes == ["train.tokens: 6144 -> 9216", "train.tokens: 9216 -> 12288", "train.tokens: 12288 -> 15360"]


def test_a_crash_after_going_back_before_a_cooldown_leaves_a_run_that_can_be_extended(
    extended: RunDir, tiny_run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The earlier checkpoint has the longer recipe already, the newest one has the shorter."""
    run = copied(tiny_run, tmp_path / "run")
    waits = changed(recipe_of(run), "optim", schedule="wsd", cooldown_ratio=0.2)
    save_recipe(waits, run.config)
    for _, path in list_checkpoints(run):
        state, hashes = read_header(path)
        state.recipe = beside(waits.model_dump(exclude_none=True), run.root)
        extending.restate(path, path, state, hashes)
    plan = plan_extension(run, waits, "2x", None)
    with monkeypatch.context() as crash:
        crash.setattr(extending, "discard", interrupted)
        with pytest.raises(KeyboardInterrupt):
            plan.apply(run, state.data_fingerprint)
    assert recipe_of(run) == waits
    for _ in range(2):
        plan_extension(run, recipe_of(run), "2x", None).apply(run, state.data_fingerprint)
    assert recipe_of(run) == changed(waits, "train", tokens=12288)
    assert [step for step, _ in list_checkpoints(run)] == [15]
    (parent,) = read_header(directory_of(run, 15))[0].lineage
    assert (parent.step, parent.changes) == (15, ["train.tokens: 6144 -> 12288"])


def interrupted(path: Path) -> None:
    raise KeyboardInterrupt


def test_a_crash_between_two_checkpoints_leaves_a_run_that_can_be_extended(
    tiny_run: RunDir, tiny_data: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = copied(tiny_run, tmp_path / "run")
    calls = []

    def full(source: Path, target: Path, *rest: object) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise StorageError("the disk is full")
        restate(source, target, *rest)

    restate = extending.restate
    monkeypatch.setattr(extending, "restate", full)
    with pytest.raises(StorageError):
        puna.train(run, tiny_data, extend="1.5x", stop_at=25)
    assert recipe_of(run).total_steps == 24
    puna.train(run, tiny_data, resume=True)  # still what it was, and finished
    puna.train(run, tiny_data, extend="1.5x", stop_at=25)
    for step, path in list_checkpoints(run):
        state, _ = read_header(path)
        assert state.recipe == recipe_of(run).model_dump(exclude_none=True), step
        assert len(state.lineage) == 1, step


def test_an_unfinished_run_is_made_longer_from_its_newest_checkpoint(
    tiny: Recipe, tiny_data: DataDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run, whole = RunDir(tmp_path / "run"), RunDir(tmp_path / "whole")
    tiny = quiet(tiny)
    puna.train(tiny, tiny_data, run, resume=True, stop_at=7)
    assert "there is no checkpoint to resume from, so the run begins" in capsys.readouterr().err
    puna.train(tiny, tiny_data, run, extend="+2048", schedule="constant", stop_at=10)
    puna.train(recipe_of(run), tiny_data, whole, stop_at=10)
    assert recipe_of(run).optim.until_tokens == 6144
    assert same(tensors(run, 10), tensors(whole, 10))


def test_a_run_whose_rate_waits_for_its_cooldown_goes_on_from_before_it(
    tiny: Recipe, tiny_data: DataDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    waits = changed(changed(tiny, "train", tokens=12 * 256), "optim", schedule="wsd", cooldown_ratio=0.25)
    waits = quiet(changed(waits, "checkpoint", every_steps=4))
    run, whole = RunDir(tmp_path / "run"), RunDir(tmp_path / "whole")
    puna.train(waits, tiny_data, run, stop_at=11)
    assert [step for step, _ in list_checkpoints(run)] == [4, 8, 11]
    puna.train(run, tiny_data, extend="16x", stop_at=14)
    assert "goes on from step 8 to step 192; the learning rate stays until the new cooldown" in capsys.readouterr().err
    assert recipe_of(run) == changed(waits, "train", tokens=16 * 12 * 256)
    puna.train(recipe_of(run), tiny_data, whole, stop_at=14)
    assert same(tensors(run, 14), tensors(whole, 14))
    assert losses(run) == losses(whole)


def test_a_run_without_a_checkpoint_from_before_its_cooldown_warms_up_again(extended: RunDir, tmp_path: Path):
    run = copied(extended, tmp_path / "run")
    for _, path in list_checkpoints(run):
        state, hashes = read_header(path)
        state.recipe["optim"] = state.recipe["optim"] | {"phases": [], "schedule": "wsd", "cooldown_ratio": 1.0}
        extending.restate(path, path, state, hashes)
    plan = plan_extension(
        run, changed(recipe_of(run), "optim", phases=[], schedule="wsd", cooldown_ratio=1.0), "20k", None
    )
    assert (plan.step, plan.recipe.optim.phases[-1].schedule) == (31, "wsd")


def test_what_cannot_be_made_longer_is_refused_and_stays_as_it_was(
    tiny: Recipe, tiny_run: RunDir, tiny_data: DataDir, tmp_path: Path
):
    before = sorted((path, path.stat().st_mtime_ns) for path in tiny_run.root.rglob("*") if path.name != ".lock")
    for amount in ("1x", "6144", "6.2k"):
        with pytest.raises(TrainError, match=f"--extend {amount}: makes .* tokens, and .* has 6144 already"):
            puna.train(tiny_run, tiny_data, extend=amount)
    with pytest.raises(CheckpointError, match=r"with another recipe: optim\.lr: 0\.01 -> 0\.5"):
        puna.train(changed(tiny, "optim", lr=0.5), tiny_data, tiny_run, extend="2x")
    own = [Phase(from_tokens=5120, lr=0.1)]
    with pytest.raises(TrainError, match=r"has other optim\.phases than the recipe"):
        puna.train(changed(tiny, "optim", phases=own), tiny_data, tiny_run, extend="2x")
    with pytest.raises(TrainError, match="--extend goes on with a run and --force deletes it"):
        puna.train(tiny_run, tiny_data, extend="2x", force=True)
    with pytest.raises(DataError, match="would read its"):
        puna.train(tiny.model_copy(update={"max_epochs": {"code": 0.5}}), tiny_data, tiny_run, extend="900x")
    assert before == sorted(
        (path, path.stat().st_mtime_ns) for path in tiny_run.root.rglob("*") if path.name != ".lock"
    )
    with pytest.raises(CheckpointError, match="has no checkpoint that it could go on from"):
        puna.train(tiny, tiny_data, tmp_path / "none", extend="2x")


def test_a_length_that_an_unfinished_run_is_to_have_anyway_is_told_from_what_is_done(extended: RunDir):
    with pytest.raises(TrainError, match=r"makes 9000 tokens, and .* has 9216 as its length, of which 7936 are done"):
        plan_extension(extended, recipe_of(extended), "9k", None)
