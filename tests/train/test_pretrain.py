"""Pre-training on a tiny recipe: exact after every kind of interruption, and equal to a loop written plainly."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from puna.api.stages import train as train_model
from puna.config.recipe import Recipe
from puna.core.errors import ConfigError, DataError, StorageError, TrainError, UserError
from puna.core.layout import DataDir, RunDir
from puna.core.lock import DirectoryLock
from puna.core.metrics import read_metrics
from puna.core.schema.train_state import list_checkpoints
from puna.model.files import load_model
from puna.parallel.apply import build_model
from puna.parallel.mesh import build_mesh
from puna.parallel.world import World
from puna.shards.loader import Loader
from puna.shards.shards import TokenShards
from puna.train import loop, session
from puna.train.schedule import learning_rate
from puna.train.stability import FINE, Monitor, Verdict


def _weights(run: RunDir) -> dict[str, torch.Tensor]:
    return load_file(run.model / "model.safetensors")


def _equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    """Whether both hold the same tensors, bit for bit."""
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def _same(a: RunDir, b: RunDir) -> bool:
    return _equal(_weights(a), _weights(b))


def _losses(run: RunDir) -> list[tuple[int, float]]:
    return [(line["step"], line["loss"]) for line in read_metrics(run.metrics) if line["kind"] == "train"]


def _start(toml: Path, data: DataDir, run: RunDir, *arguments: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "puna",
        "train",
        str(toml),
        "--data-dir",
        str(data.root),
        "--run-dir",
        str(run.root),
    ]
    with _log(run).open("a") as log:
        return subprocess.Popen([*command, *arguments], stderr=log, text=True)


def _log(run: RunDir) -> Path:
    run.root.parent.mkdir(parents=True, exist_ok=True)
    return run.root.with_suffix(".log")


def _wait_for_step(run: RunDir, step: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and process.poll() is None:
        if run.metrics.exists() and any(line["step"] >= step for line in read_metrics(run.metrics)):
            return
        time.sleep(0.005)
    raise AssertionError(f"step {step} never came: {_log(run).read_text()}")


def test_run_leaves_what_its_directory_promises(tiny: Recipe, tiny_run: RunDir):
    record = json.loads(tiny_run.record.read_text())
    results = record["results"]
    assert results["steps"] == tiny.total_steps == 24
    assert results["tokens"] == 6144
    assert set(results["final"]["bits_per_byte"]) == {"prose", "code"}
    assert record["config"] == tiny.model_dump(exclude_none=True)
    assert [step for step, _ in list_checkpoints(tiny_run)] == [15, 20, 24]
    kinds = [line["kind"] for line in read_metrics(tiny_run.metrics)]
    assert kinds.count("train") == 24
    assert kinds.count("validation") == 3
    assert kinds.count("sample") == 3
    assert tiny_run.data_card.exists()
    model = load_model(tiny_run.model).model
    assert model.config == tiny.model
    assert sum(p.numel() for p in model.parameters()) == results["parameters"]


def test_loss_falls(tiny_run: RunDir):
    losses = [loss for _, loss in _losses(tiny_run)]
    assert sum(losses[-4:]) < sum(losses[:4]) - 2.0


def test_steps_equal_a_plain_loop(tiny: Recipe, tiny_data: DataDir, tiny_run: RunDir):
    """Full logits, mean cross-entropy, torch's AdamW unfused, no accumulation: the same losses."""
    world = World(0, 1, torch.device("cpu"), None)
    model = build_model(tiny, build_mesh(tiny.parallel, world), world.device)
    shards = {source: TokenShards.open(tiny_data.shards / source / "train") for source in tiny.mixture}
    loader = Loader(shards, tiny)
    matrices = [p for p in model.parameters() if p.ndim == 2]
    norms = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": norms, "weight_decay": 0.0}],
        betas=(0.9, 0.95), eps=1e-8, fused=False, foreach=False,
    )  # fmt: skip
    rows = 256 // 32
    for step, expected in _losses(tiny_run):
        tokens_BT = torch.from_numpy(loader.batch((step - 1) * rows, rows))
        logits_BTV = model(tokens_BT[:, :-1])
        loss = F.cross_entropy(logits_BTV.flatten(0, 1), tokens_BT[:, 1:].flatten())
        assert loss.item() == pytest.approx(expected, abs=2e-4), step
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step - 1, tiny.optim, tiny.total_steps)
        optimizer.step()


def test_killed_and_resumed_equals_never_killed(tiny_toml: Path, tiny_data: DataDir, tiny_run: RunDir, tmp_path: Path):
    """kill -9 twice, at steps without a checkpoint; the weights and every logged loss are the same bits."""
    killed = RunDir(tmp_path / "killed")
    for step, arguments in ((8, []), (17, ["--resume"])):
        process = _start(tiny_toml, tiny_data, killed, *arguments)
        _wait_for_step(killed, step, process)
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=300) == -signal.SIGKILL
        assert not killed.record.exists()
        assert list_checkpoints(killed)
    process = _start(tiny_toml, tiny_data, killed, "--resume")
    assert process.wait(timeout=120) == 0
    assert _same(tiny_run, killed)
    assert _losses(tiny_run) == _losses(killed)
    assert json.loads(killed.record.read_text())["results"]["sessions"] == 3
    sessions = [line for line in read_metrics(killed.metrics) if line["kind"] == "session"]
    assert [line["step"] for line in sessions] == sorted(line["step"] for line in sessions)
    assert [line["step"] > 0 for line in sessions] == ["--resume" in line["command"] for line in sessions]
    assert len(sessions) == 3
    assert sessions[-1]["started"] == json.loads(killed.record.read_text())["started"]
    assert sessions[-1]["device"] == json.loads(killed.record.read_text())["results"]["device"]


def test_signal_saves_and_leaves_with_the_code_that_shells_expect(
    tiny_toml: Path, tiny_data: DataDir, tiny_run: RunDir, tmp_path: Path
):
    run = RunDir(tmp_path / "run")
    saved = 0
    for number in (signal.SIGTERM, signal.SIGINT):
        process = _start(tiny_toml, tiny_data, run, "--resume", "checkpoint.every_steps=1000")
        _wait_for_step(run, saved + 3, process)
        process.send_signal(number)
        assert process.wait(timeout=300) == 128 + number
        assert "Traceback" not in _log(run).read_text()
        before, saved = saved, list_checkpoints(run)[-1][0]
        assert saved > before
    process = _start(tiny_toml, tiny_data, run, "--resume")
    assert process.wait(timeout=120) == 0
    assert _same(run, tiny_run)


def test_micro_batches_add_up_to_the_batch(tiny: Recipe, tiny_data: DataDir, tiny_run: RunDir, tmp_path: Path):
    """Gradient accumulation over 8 passes against 2: equal but for the order of sums."""
    recipe = tiny.model_copy(update={"train": tiny.train.model_copy(update={"micro_batch_tokens": 32})})
    run = RunDir(tmp_path / "run")
    train_model(recipe, tiny_data, run, resume=False, force=False)
    ours, theirs = dict(_losses(run)), dict(_losses(tiny_run))
    assert ours.keys() == theirs.keys()
    assert all(abs(ours[step] - theirs[step]) < 2e-4 for step in ours)


def test_compiled_blocks_train_the_same_model(tiny: Recipe, tiny_data: DataDir, tiny_run: RunDir, tmp_path: Path):
    train = tiny.train.model_copy(update={"compile": True, "tokens": 6 * 256})
    recipe = tiny.model_copy(update={"train": train})
    run = RunDir(tmp_path / "run")
    train_model(recipe, tiny_data, run, resume=False, force=False)
    ours, theirs = dict(_losses(run)), dict(_losses(tiny_run))
    # The schedules share their warm-up of four steps, and the fifth step's loss follows from those.
    assert all(abs(ours[step] - theirs[step]) < 2e-4 for step in range(1, 6))


@pytest.mark.parametrize("precision", ["bf16", "bf16-stochastic"])
def test_other_precisions_resume_to_the_same_bits(tiny: Recipe, tiny_data: DataDir, tmp_path: Path, precision: str):
    recipe = tiny.model_copy(update={"train": tiny.train.model_copy(update={"precision": precision})})
    whole, halved = RunDir(tmp_path / "whole"), RunDir(tmp_path / "halved")
    train_model(recipe, tiny_data, whole, resume=False, force=False, stop_at=12)
    train_model(recipe, tiny_data, halved, resume=False, force=False, stop_at=7)
    train_model(recipe, tiny_data, halved, resume=True, force=False, stop_at=12)
    states = [load_file(next((run.checkpoints / "step-00000012").glob("*.safetensors"))) for run in (whole, halved)]
    assert _equal(*states)
    assert [step for step, _ in _losses(whole)] == list(range(1, 13))
    assert _losses(whole) == _losses(halved)
    kinds = {tensor.dtype for name, tensor in states[0].items() if not name.endswith(".step")}
    assert kinds == {torch.float32 if precision == "bf16" else torch.bfloat16}


def test_bf16_stays_near_fp32(tiny: Recipe, tiny_data: DataDir, tiny_run: RunDir, tmp_path: Path):
    recipe = tiny.model_copy(update={"train": tiny.train.model_copy(update={"precision": "bf16"})})
    run = RunDir(tmp_path / "run")
    train_model(recipe, tiny_data, run, resume=False, force=False)
    ours, theirs = dict(_losses(run)), dict(_losses(tiny_run))
    assert all(abs(ours[step] - theirs[step]) < 0.05 for step in ours)
    assert ours != theirs
    assert all(weight.dtype == torch.float32 for weight in _weights(run).values())


def test_loss_that_is_not_finite_ends_the_run_in_a_sentence(tiny: Recipe, tiny_data: DataDir, tmp_path: Path):
    recipe = tiny.model_copy(update={"optim": tiny.optim.model_copy(update={"lr": 1e30})})
    with pytest.raises(TrainError, match="the loss is"):
        train_model(recipe, tiny_data, RunDir(tmp_path / "run"), resume=False, force=False)


def test_run_stops_where_it_is_told_to_and_goes_on(tiny: Recipe, tiny_data: DataDir, tiny_run: RunDir, tmp_path: Path):
    run = RunDir(tmp_path / "run")
    train_model(tiny, tiny_data, run, resume=False, force=False, stop_at=7)
    assert [step for step, _ in list_checkpoints(run)] == [5, 7]
    assert not run.record.exists()
    train_model(tiny, tiny_data, run, resume=True, force=False)
    assert _same(run, tiny_run)
    assert _losses(run) == _losses(tiny_run)


def test_second_process_in_one_run_is_refused(tiny: Recipe, tiny_data: DataDir, tmp_path: Path):
    run = RunDir(tmp_path / "run")
    with DirectoryLock(run.root), pytest.raises(StorageError, match="another process is at work here"):
        train_model(tiny, tiny_data, run, resume=False, force=False)


def test_lines_count_each_source(tiny: Recipe, tiny_run: RunDir):
    """Tokens add up to the run's, epochs follow from them, and losses by source average to the batch's."""
    lines = [line for line in read_metrics(tiny_run.metrics) if line["kind"] == "train"]
    for line in lines:
        assert sum(line["source_tokens"].values()) == line["tokens"]
        assert min(line["source_loss"].values()) <= line["loss"] <= max(line["source_loss"].values())
    assert set(lines[-1]["source_loss"]) <= {"prose", "code"}
    shares = {source: tokens / 6144 for source, tokens in lines[-1]["source_tokens"].items()}
    assert shares["prose"] == pytest.approx(0.75, abs=0.1)
    record = json.loads(tiny_run.record.read_text())["results"]
    assert record["source_tokens"] == lines[-1]["source_tokens"]
    assert record["epochs"] == lines[-1]["epochs"]


class _SpikeAt(Monitor):
    """Calls the loss of one batch a spike, by its number of judgement; the others are fine."""

    calls = 0
    spikes = (13,)

    def judge(self, loss: float, norm: float) -> Verdict:
        type(self).calls += 1
        return Verdict("spike", "a spike for a test") if type(self).calls in type(self).spikes else FINE


def _spiking(monkeypatch: pytest.MonkeyPatch, tiny: Recipe, action: str) -> Recipe:
    monkeypatch.setattr(_SpikeAt, "calls", 0)
    for module in (loop, session):
        monkeypatch.setattr(module, "Monitor", _SpikeAt)
    return tiny.model_copy(update={"stability": tiny.stability.model_copy(update={"action": action})})


def test_skipped_batch_changes_no_weight_and_nothing_that_the_optimizer_remembers(
    tiny: Recipe, tiny_data: DataDir, tiny_run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = RunDir(tmp_path / "run")
    recipe = _spiking(monkeypatch, tiny, "skip")
    recipe = recipe.model_copy(
        update={"checkpoint": recipe.checkpoint.model_copy(update={"every_steps": 1, "keep": 30})}
    )
    train_model(recipe, tiny_data, run, resume=False, force=False)
    states = {step: load_file(next(path.glob("*.safetensors"))) for step, path in list_checkpoints(run)}
    assert sorted(states) == list(range(1, 25))
    changed = [step for step in range(2, 25) if not _equal(states[step - 1], states[step])]
    assert changed == [step for step in range(2, 25) if step != 13]
    (line,) = [line for line in read_metrics(run.metrics) if line["kind"] == "skipped"]
    assert (line["step"], line["first_sequence"], line["sequences"]) == (13, 12 * 8, 8)
    assert json.loads(run.record.read_text())["results"]["skipped_steps"] == 1
    assert _losses(run)[:12] == _losses(tiny_run)[:12]


def test_rollback_returns_to_the_checkpoint_and_passes_over_the_batches(
    tiny: Recipe, tiny_data: DataDir, tiny_run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A spike at the 13th batch: back to step 10, whose next batch is now the 14th."""
    run = RunDir(tmp_path / "run")
    train_model(_spiking(monkeypatch, tiny, "rollback"), tiny_data, run, resume=False, force=False)
    lines = list(read_metrics(run.metrics))
    (line,) = [line for line in lines if line["kind"] == "rollback"]
    assert (line["from_step"], line["to_step"], line["batches"]) == (13, 10, 3)
    trained = [line for line in lines if line["kind"] == "train"]
    assert [line["step"] for line in trained] == list(range(1, 25))
    assert all(sum(line["source_tokens"].values()) == line["tokens"] for line in trained)
    assert _losses(run)[:10] == _losses(tiny_run)[:10]
    # Step 11 learns from the batch that step 14 of the undisturbed run has, with the weights of step 10.
    state = TensorsAfter(tiny, tiny_data, run)
    assert state.loss_of_batch(13) == pytest.approx(dict(_losses(run))[11], abs=2e-4)


class _SpikesOften(Monitor):
    """Calls every so many steps a spike, from the 13th judgement on, whatever lies between them."""

    calls = 0
    every = 2

    def _verdict(self, loss: float, norm: float) -> Verdict:
        type(self).calls += 1
        late = type(self).calls - 12
        return Verdict("spike", "a spike for a test") if late > 0 and late % type(self).every == 0 else FINE


@pytest.mark.parametrize(
    ("every", "window", "words"),
    [
        (2, 128, "4 of the last 20 batches were not fit"),
        (4, 2, "step 15: the run went back to this checkpoint 3 times"),
    ],
)
def test_spikes_that_return_after_fine_steps_do_not_go_on_for_ever(
    every: int, window: int, words: str, tiny: Recipe, tiny_data: DataDir, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    for module in (loop, session):
        monkeypatch.setattr(module, "Monitor", _SpikesOften)
    monkeypatch.setattr(_SpikesOften, "calls", 0)
    monkeypatch.setattr(_SpikesOften, "every", every)
    values = {"action": "rollback", "window": window, "most": 3}
    recipe = tiny.model_copy(update={"stability": tiny.stability.model_copy(update=values)})
    run = RunDir(tmp_path / "run")
    with pytest.raises(TrainError, match=words):
        train_model(recipe, tiny_data, run, resume=False, force=False)
    assert len([line for line in read_metrics(run.metrics) if line["kind"] == "rollback"]) == 3


def test_batches_that_a_rollback_passes_over_count_for_the_most_epochs(
    tiny: Recipe, tiny_data: DataDir, tiny_run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The run without a rollback reads just as often as is allowed."""
    epochs = json.loads(tiny_run.record.read_text())["results"]["epochs"]
    recipe = _spiking(monkeypatch, tiny, "rollback").model_copy(update={"max_epochs": {"prose": epochs["prose"]}})
    run = RunDir(tmp_path / "run")
    with pytest.raises(DataError, match="with the batches that a return to a checkpoint passes over") as caught:
        train_model(recipe, tiny_data, run, resume=False, force=False)
    assert "--resume max_epochs.prose=" in caught.value.hint
    more = recipe.model_copy(update={"max_epochs": {"prose": 2 * epochs["prose"]}})
    train_model(more, tiny_data, run, resume=True, force=False)
    assert run.record.exists()


@pytest.mark.parametrize("reader", ["samples", "validation", "checkpoint"])
@pytest.mark.parametrize(("lr", "action"), [(1e18, "stop"), (1e38, "stop"), (1e38, "skip")])
def test_weights_that_are_lost_end_the_run_before_anybody_reads_them(
    reader: str, lr: float, action: str, tiny: Recipe, tiny_data: DataDir, tmp_path: Path
):
    """Lines of metrics are due last, so samples, validations and checkpoints are the first to read the weights."""
    sections = {
        "optim": {"lr": lr, "warmup_steps": 0}, "train": {"log_every": 1000}, "stability": {"action": action},
        "samples": {"every_steps": 1000}, "validation": {"every_steps": 1000}, "checkpoint": {"every_steps": 1000},
    }  # fmt: skip
    sections[reader] = {"every_steps": 1}
    update = {name: getattr(tiny, name).model_copy(update=values) for name, values in sections.items()}
    run = RunDir(tmp_path / "run")
    with pytest.raises(UserError, match=r"not finite|the loss is|the loss on the held-out text") as caught:
        train_model(tiny.model_copy(update=update), tiny_data, run, resume=False, force=False)
    assert "lower optim.lr" in caught.value.hint or f"optim.lr={lr / 2:g}" in caught.value.hint
    assert not re.search(r"NaN|Infinity", run.metrics.read_text())
    for _, path in list_checkpoints(run):
        assert all(tensor.isfinite().all() for tensor in load_file(next(path.glob("*.safetensors"))).values())


class TensorsAfter:
    """The weights of step 10 of a run, to compute a loss with."""

    def __init__(self, tiny: Recipe, data: DataDir, run: RunDir) -> None:
        world = World(0, 1, torch.device("cpu"), None)
        self.model = build_model(tiny, build_mesh(tiny.parallel, world), world.device)
        copy = RunDir(run.root.with_name("until-10"))
        train_model(tiny, data, copy, resume=False, force=False, stop_at=10)
        tensors = load_file(next((copy.checkpoints / "step-00000010").glob("*.safetensors")))
        for name, parameter in self.model.named_parameters():
            parameter.data.copy_(tensors[f"model.{name}"])
        shards = {source: TokenShards.open(data.shards / source / "train") for source in tiny.mixture}
        self.loader = Loader(shards, tiny)

    def loss_of_batch(self, number: int) -> float:
        tokens_BT = torch.from_numpy(self.loader.batch(number * 8, 8))
        logits_BTV = self.model(tokens_BT[:, :-1])
        return F.cross_entropy(logits_BTV.flatten(0, 1), tokens_BT[:, 1:].flatten()).item()


def test_damaged_token_shard_is_found_before_the_first_step(tiny: Recipe, tiny_data: DataDir, tmp_path: Path):
    copy = DataDir(tmp_path / "data")
    shutil.copytree(tiny_data.root, copy.root)
    shard = copy.shards / "prose" / "train" / "tokens-00000.bin"
    content = bytearray(shard.read_bytes())
    content[1000] ^= 1
    shard.write_bytes(content)
    run = RunDir(tmp_path / "run")
    with pytest.raises(DataError, match=r"tokens-00000\.bin: is damaged"):
        train_model(tiny, copy, run, resume=False, force=False)
    assert not run.metrics.exists()


def test_missing_data_build_names_the_command_that_makes_it(tiny: Recipe, tmp_path: Path):
    with pytest.raises(DataError) as caught:
        train_model(tiny, DataDir(tmp_path / "none"), RunDir(tmp_path / "run"), resume=False, force=False)
    assert re.search(r"`puna data build \S+/tiny\.toml --data-dir \S+/none` makes it", caught.value.hint)


@pytest.mark.parametrize("content", [None, "{", "[]", '{"schema": 99}'])
def test_data_card_that_is_missing_or_damaged_is_named(
    tiny: Recipe, tiny_data: DataDir, tmp_path: Path, content: str | None
):
    copy = DataDir(tmp_path / "data")
    shutil.copytree(tiny_data.root, copy.root)
    copy.card.unlink()
    if content is not None:
        copy.card.write_text(content)
    with pytest.raises(DataError, match=r"card\.json: "):
        train_model(tiny, copy, RunDir(tmp_path / "run"), resume=False, force=False)


def test_damaged_recipe_of_a_run_without_checkpoints_is_named(tiny: Recipe, tiny_data: DataDir, tmp_path: Path):
    run = RunDir(tmp_path / "run")
    run.root.mkdir()
    run.config.write_text("no toml [")
    with pytest.raises(ConfigError, match=r"config\.toml"):
        train_model(tiny, tiny_data, run, resume=True, force=False)
