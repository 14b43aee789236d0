"""Branches: a new run that goes on from a moment of another one."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import puna
from puna.config.load import load_recipe
from puna.config.recipe import Recipe
from puna.core.errors import CheckpointError, ConfigError, TrainError
from puna.core.layout import DataDir, RunDir
from puna.core.metrics import read_metrics
from puna.core.schema.train_state import directory_of, list_checkpoints, read_header
from puna.train.restate import restate
from puna.train.schedule import schedule_of


def state_bytes(run: RunDir, step: int) -> dict[str, torch.Tensor]:
    return load_file(next(directory_of(run, step).glob("*.safetensors")))


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def lines(run: RunDir, kind: str) -> list[dict]:
    return [line for line in read_metrics(run.metrics) if line["kind"] == kind]


def changed(recipe: Recipe, section: str, **values: object) -> Recipe:
    return recipe.model_copy(update={section: getattr(recipe, section).model_copy(update=values)})


def test_a_branch_that_changes_nothing_ends_with_the_bits_of_its_parent(
    tiny_run: RunDir, tiny_data: DataDir, tmp_path: Path
):
    """Interrupted on the way, and without its parent from the first step on."""
    parent, branch = RunDir(tmp_path / "parent"), RunDir(tmp_path / "branch")
    shutil.copytree(tiny_run.root, parent.root)
    puna.train(data=tiny_data, run=branch, branch_from=f"{parent}@15", stop_at=17)
    shutil.rmtree(parent.root)
    puna.train(branch, tiny_data, resume=True)
    assert same(state_bytes(branch, 24), state_bytes(tiny_run, 24))
    assert same(load_file(branch.model / "model.safetensors"), load_file(tiny_run.model / "model.safetensors"))
    theirs = {line["step"]: line["loss"] for line in lines(tiny_run, "train")}
    assert {line["step"]: line["loss"] for line in lines(branch, "train")} == {
        step: loss for step, loss in theirs.items() if step > 15
    }
    record = json.loads(branch.record.read_text())
    assert record["config"] == json.loads(tiny_run.record.read_text())["config"]
    (origin,) = record["results"]["lineage"]
    assert origin == {
        "how": "branched", "run": "tiny", "place": f"{parent}@15", "step": 15, "tokens": 15 * 256,
        "weights": origin["weights"], "changes": [], "optimizer": "kept",
    }  # fmt: skip
    assert record["results"]["tokens"] == 24 * 256


def test_what_a_branch_changes_holds_from_its_moment_on(tiny_run: RunDir, tiny_data: DataDir, tmp_path: Path):
    recipe = puna.recipe(tiny_run.config, {"optim.lr": 5e-3, "optim.weight_decay": 0.0})
    branch = RunDir(tmp_path / "branch")
    puna.train(recipe, tiny_data, branch, branch_from=directory_of(tiny_run, 20), schedule="linear")
    trained = load_recipe(str(branch.config)).recipe
    rates = {line["step"]: line["lr"] for line in lines(branch, "train")}
    assert rates == {step + 1: schedule_of(trained)(step) for step in range(20, 24)}
    assert rates[24] == pytest.approx(5e-3 / 3)  # one step of warm-up, then in a line to zero at the 25th
    (parent,) = read_header(directory_of(branch, 24))[0].lineage
    assert [change.partition(":")[0] for change in parent.changes] == [
        "optim.lr", "optim.phases", "optim.until_tokens", "optim.weight_decay",
    ]  # fmt: skip


def test_what_a_branch_changes_of_the_schedule_holds_in_a_run_that_was_extended_too(
    tiny_run: RunDir, tiny_data: DataDir, tmp_path: Path
):
    """The recipe's own schedule is over there."""
    longer, branch = RunDir(tmp_path / "longer"), RunDir(tmp_path / "branch")
    puna.train(data=tiny_data, run=longer, branch_from=f"{tiny_run}@20", extend="2x", stop_at=22)
    recipe = puna.recipe(longer.config, {"optim.lr": 5e-4})
    before = recipe.optim.phases
    puna.train(recipe, tiny_data, branch, branch_from=f"{longer}@22", stop_at=23)
    (phase,) = load_recipe(str(branch.config)).recipe.optim.phases
    assert phase == before[0].model_copy(update={"lr": 5e-4})
    (line,) = lines(branch, "train")
    assert 0 < line["lr"] <= 5e-4
    long_rise = puna.recipe(longer.config, {"optim.warmup_steps": 30})
    with pytest.raises(ConfigError, match=r"^optim\.phases\[0\] has 28 steps, not more than its 30 of warm-up$"):
        puna.train(long_rise, tiny_data, tmp_path / "no", branch_from=f"{longer}@22")


def test_a_branch_of_a_branch_that_is_made_longer_knows_all_of_its_past(
    tiny_run: RunDir, tiny_data: DataDir, tmp_path: Path
):
    first, second = RunDir(tmp_path / "first"), RunDir(tmp_path / "second")
    puna.train(data=tiny_data, run=first, branch_from=f"{tiny_run}@20", extend="2x", stop_at=22)
    puna.train(data=tiny_data, run=second, branch_from=f"{first}@last", stop_at=23)
    puna.train(second, tiny_data, extend="+256", stop_at=24)
    lineage = read_header(directory_of(second, 24))[0].lineage
    assert [(parent.how, parent.step) for parent in lineage] == [("branched", 20), ("branched", 22), ("extended", 23)]
    assert read_header(directory_of(second, 24))[0].sessions == read_header(directory_of(tiny_run, 20))[0].sessions + 3


def test_batches_of_another_size_begin_after_as_many_tokens(
    tiny_run: RunDir, tiny_data: DataDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    recipe = puna.recipe(tiny_run.config, {"train.batch_tokens": 512})
    branch = RunDir(tmp_path / "branch")
    puna.train(recipe, tiny_data, branch, branch_from=f"{tiny_run}@20", stop_at=11)
    assert [step for step, _ in list_checkpoints(branch)] == [10, 11]
    (line,) = lines(branch, "train")
    assert line["tokens"] == 22 * 256
    twice = [found["source_tokens"] for found in lines(tiny_run, "train") if found["step"] == 22]
    assert line["source_tokens"] == twice[0]
    assert "warning" not in capsys.readouterr().err
    with pytest.raises(
        TrainError, match=r"its 3840 tokens are not whole batches of train\.batch_tokens = 512"
    ) as caught:
        puna.train(recipe, tiny_data, tmp_path / "other", branch_from=f"{tiny_run}@15")
    assert caught.value.hint == "keep train.batch_tokens = 256, or choose another step"


def test_other_data_are_read_on_from_the_same_place_and_said(
    tiny_run: RunDir, tiny_data: DataDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    recipe = puna.recipe(tiny_run.config, {"mixture.code": 3.0})
    branch = RunDir(tmp_path / "branch")
    puna.train(recipe, tiny_data, branch, branch_from=f"{tiny_run}@20", stop_at=21)
    assert "was trained on other token shards or another mixture" in " ".join(capsys.readouterr().err.split())
    # Both of its checkpoints are of these data, so it can be resumed with them.
    parent, first, second = (
        read_header(directory_of(run, step))[0].data_fingerprint
        for run, step in ((tiny_run, 20), (branch, 20), (branch, 21))
    )
    assert first == second != parent
    # A later stage of the same order goes on with it, text that was read does not come again.
    stages = [{"from_tokens": 20 * 256, "mixture": {"code": 1.0}}]
    recipe = puna.recipe(tiny_run.config, {"stages": stages})
    puna.train(recipe, tiny_data, tmp_path / "stage", branch_from=f"{tiny_run}@20", stop_at=21)
    (line,) = lines(RunDir(tmp_path / "stage"), "train")
    before = next(found["source_tokens"] for found in lines(tiny_run, "train") if found["step"] == 20)
    assert line["source_tokens"] == before | {"code": before["code"] + 256}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"model.ffn_dim": 128}, "is of another decoder than the recipe's: it has ffn_dim = 64, not 128"),
        ({"optim.name": "muon"}, r"its optimizer's state is of another kind: optim\.name = 'adamw', not 'muon'"),
        ({"train.precision": "bf16-stochastic"}, r"of another kind: train\.precision = 'fp32', not 'bf16-stochastic'"),
        ({"train.tokens": 20 * 256}, "has 20 steps done, and the branch is to have 20 in all"),
    ],
)
def test_what_the_state_does_not_fit_is_refused_before_anything_is_written(
    tiny_run: RunDir, tiny_data: DataDir, tmp_path: Path, overrides: dict[str, object], words: str
):
    recipe = puna.recipe(tiny_run.config, overrides)
    with pytest.raises((CheckpointError, TrainError), match=words):
        puna.train(recipe, tiny_data, tmp_path / "branch", branch_from=f"{tiny_run}@20")
    assert not (tmp_path / "branch").exists()


def test_a_damaged_parent_leaves_no_branch_and_deletes_no_run(tiny_run: RunDir, tiny_data: DataDir, tmp_path: Path):
    parent, branch = RunDir(tmp_path / "parent"), RunDir(tmp_path / "branch")
    shutil.copytree(tiny_run.root, parent.root)
    puna.train(data=tiny_data, run=branch, branch_from=f"{parent}@20", stop_at=21)
    (shard,) = directory_of(parent, 20).glob("*.safetensors")
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.unlink()
    shard.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"shard-.*: is damaged"):
        puna.train(data=tiny_data, run=branch, branch_from=f"{parent}@20", force=True)
    assert [step for step, _ in list_checkpoints(branch)] == [20, 21]
    # The branch has shards of its own.
    puna.train(branch, tiny_data, resume=True, stop_at=22)


def test_a_branch_that_has_begun_is_resumed_by_its_own_command(tiny_run: RunDir, tiny_data: DataDir, tmp_path: Path):
    branch = RunDir(tmp_path / "branch")
    for stop in (21, 22):  # as a launcher starts a command again
        puna.train(data=tiny_data, run=branch, branch_from=f"{tiny_run}@20", resume=True, stop_at=stop)
    assert [line["step"] for line in lines(branch, "train")] == [21, 22]
    with pytest.raises(CheckpointError, match="holds a run already"):
        puna.train(data=tiny_data, run=branch, branch_from=f"{tiny_run}@20")


def test_data_of_another_tokenizer_are_refused(tiny_run: RunDir, tiny_data: DataDir, tmp_path: Path):
    parent, branch = RunDir(tmp_path / "parent"), RunDir(tmp_path / "branch")
    shutil.copytree(tiny_run.root, parent.root)
    state, hashes = read_header(directory_of(parent, 20))
    state.tokenizer = "0" * 64
    restate(directory_of(parent, 20), directory_of(parent, 20), state, hashes)
    with pytest.raises(CheckpointError, match="was trained with another tokenizer than that of the data"):
        puna.train(data=tiny_data, run=branch, branch_from=f"{parent}@20")
    assert not branch.root.exists()
