"""Checkpoints: exact, whole or absent, checked before they are believed, free of pickle."""

import errno
import logging
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from puna.config.recipe import CheckpointConfig, ModelConfig, OptimConfig
from puna.core.errors import CheckpointError, OtherProcessError, StorageError
from puna.core.files import sha256_file
from puna.core.layout import RunDir
from puna.core.schema.train_state import TrainState, list_checkpoints, read_header
from puna.model.checkpoint_weights import CheckpointWeights
from puna.model.init import init_weights
from puna.model.llama import Llama
from puna.parallel.world import World
from puna.train import checkpoint, saver
from puna.train.checkpoint import load_tensors, read_state, tensors
from puna.train.optimizer import build_optimizer
from puna.train.saver import Saver

ALONE = World(0, 1, torch.device("cpu"), None)
SMALL = ModelConfig(dim=8, n_layers=2, n_heads=2, n_kv_heads=1, ffn_dim=16, vocab_size=260, context=8)


def _trained(config: ModelConfig = SMALL, steps: int = 3) -> tuple[Llama, torch.optim.AdamW]:
    model = Llama(config)
    init_weights(model, seed=1)
    optimizer = build_optimizer(model, OptimConfig(lr=1e-2))
    for step in range(steps):
        model(torch.arange(8)[None] + step).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, optimizer


def save_checkpoint(
    run: RunDir, state: TrainState, model: Llama, optimizer: torch.optim.Optimizer, keep: int, **config: object
) -> Path:
    with Saver(run, CheckpointConfig(keep=keep, **config), ALONE) as writer:
        writer.save(state, model, optimizer)
    return run.checkpoints / f"step-{state.step:08d}"


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_read_state_is_the_written_one_bit_for_bit(tmp_path: Path, tied: bool, asynchronous: bool):
    config = SMALL.model_copy(update={"tie_embeddings": tied})
    model, optimizer = _trained(config)
    written = TrainState(
        step=3, train_seconds=1.5, wall_seconds=2.5, sessions=2, data_fingerprint="f", recipe={"a": 1},
        shifts=[(2, 7)], history=[[0.1, 1 / 3]], recent=[True, False], peak_flops={"a processor": 1e11},
        made_by={"torch": "2"},
    )  # fmt: skip
    path = save_checkpoint(RunDir(tmp_path), written, model, optimizer, keep=2, asynchronous=asynchronous)
    fresh = Llama(config)
    init_weights(fresh, seed=2)
    fresh_optimizer = build_optimizer(fresh, OptimConfig(lr=1e-2))
    assert read_state(path) == written
    load_tensors(path, fresh, fresh_optimizer, ALONE)
    before, after = tensors(model, optimizer), tensors(fresh, fresh_optimizer)
    assert before.keys() == after.keys()
    assert len(before) == 4 * len(list(model.parameters()))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_equal_states_are_equal_files(tmp_path: Path):
    model, optimizer = _trained()
    hashes = set()
    for number in range(6):
        path = save_checkpoint(RunDir(tmp_path / str(number)), TrainState(step=3), model, optimizer, keep=2)
        hashes.add(tuple(sorted(read_header(path)[1].items())))
    assert len(hashes) == 1


def test_only_the_newest_are_kept(tmp_path: Path):
    run, (model, optimizer) = RunDir(tmp_path), _trained()
    for step in (5, 10, 15):
        save_checkpoint(run, TrainState(step=step), model, optimizer, keep=2)
    assert [step for step, _ in list_checkpoints(run)] == [10, 15]


def test_multiples_stay_for_ever(tmp_path: Path):
    run, (model, optimizer) = RunDir(tmp_path), _trained()
    for step in range(5, 45, 5):
        save_checkpoint(run, TrainState(step=step), model, optimizer, keep=1, keep_every=15)
    assert [step for step, _ in list_checkpoints(run)] == [15, 30, 40]


def test_training_that_goes_on_does_not_change_what_is_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The weights change between the copy and the writing; the checkpoint has the old ones."""
    run, (model, optimizer) = RunDir(tmp_path), _trained()
    before = {name: tensor.clone() for name, tensor in tensors(model, optimizer).items()}
    write = saver.write_shards

    def late(*arguments: object) -> object:
        with torch.no_grad():
            for tensor in tensors(model, optimizer).values():
                tensor.fill_(7.0)
        return write(*arguments)

    monkeypatch.setattr(saver, "write_shards", late)
    path = save_checkpoint(run, TrainState(step=5), model, optimizer, keep=1)
    load_tensors(path, model, optimizer, ALONE)
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors(model, optimizer).items())


def test_checkpoint_of_another_model_is_refused(tmp_path: Path):
    path = save_checkpoint(RunDir(tmp_path), TrainState(step=5), *_trained(), keep=1)
    for other in ({"n_layers": 3}, {"ffn_dim": 32}):
        with pytest.raises(CheckpointError, match="does not hold this model's state"):
            load_tensors(path, *_trained(SMALL.model_copy(update=other)), ALONE)


def test_file_that_does_not_belong_is_refused(tmp_path: Path):
    path = save_checkpoint(RunDir(tmp_path), TrainState(step=5), *_trained(), keep=1)
    (path / "shard-00002-model-00001-of-00001.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="does not belong"):
        read_state(path)


def test_files_are_safetensors_and_json_only(tmp_path: Path):
    path = save_checkpoint(RunDir(tmp_path), TrainState(step=1), *_trained(), keep=1)
    assert {file.suffix for file in path.iterdir()} == {".safetensors", ".json"}


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_damaged_shard_is_refused_and_the_older_checkpoint_offered(tmp_path: Path, damage: str):
    run, (model, optimizer) = RunDir(tmp_path), _trained()
    save_checkpoint(run, TrainState(step=5), model, optimizer, keep=2)
    path = save_checkpoint(run, TrainState(step=10), model, optimizer, keep=2)
    shard = next(path.glob("*.safetensors"))
    content = bytearray(shard.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
        shard.write_bytes(content)
    elif damage == "truncate":
        shard.write_bytes(content[:-100])
    else:
        shard.unlink()
    with pytest.raises(CheckpointError) as caught:
        read_state(path)
    assert shard.name in caught.value.message
    assert "older checkpoint of step 5" in caught.value.hint


@pytest.mark.parametrize("where", ["write_state", "write_shards"])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_full_disk_leaves_the_older_checkpoint_and_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, asynchronous: bool
):
    run, (model, optimizer) = RunDir(tmp_path), _trained()
    save_checkpoint(run, TrainState(step=5), model, optimizer, keep=1)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(saver, where, full)
    with pytest.raises(StorageError, match="no space left"):
        save_checkpoint(run, TrainState(step=10), model, optimizer, keep=1, asynchronous=asynchronous)
    assert [path.name for path in run.checkpoints.iterdir()] == ["step-00000005"]
    assert read_state(run.checkpoints / "step-00000005").step == 5


TOGETHER = """
import sys, time
from pathlib import Path
import torch
from puna.config.recipe import CheckpointConfig, ModelConfig, OptimConfig
from puna.core import files
from puna.core.errors import StorageError
from puna.core.layout import RunDir
from puna.model.llama import Llama
from puna.parallel.world import joined
from puna.train import checkpoint, saver
from puna.core.schema.train_state import TrainState, list_checkpoints
from puna.train.optimizer import build_optimizer

sync, write_state = files.sync, saver.write_state

def full(*arguments):
    raise StorageError("no space left")

with joined() as world:
    run = RunDir(Path(sys.argv[1]))
    model = Llama(ModelConfig(dim=8, n_layers=1, n_heads=2, n_kv_heads=1, ffn_dim=16, vocab_size=260, context=8))
    optimizer = build_optimizer(model, OptimConfig())
    writer = saver.Saver(run, CheckpointConfig(), world)
    files.sync = lambda path: (time.sleep(0.2), sync(path))
    writer.save(TrainState(step=5), model, optimizer)
    writer.wait()
    sys.stdout.write(f"{world.rank} {[step for step, _ in list_checkpoints(run)]}\\n")
    world.each(None)
    saver.write_state = full if world.main else write_state
    writer.save(TrainState(step=10), model, optimizer)
    try:
        writer.wait()
    except StorageError as error:
        sys.stdout.write(f"{world.rank} failed {[step for step, _ in list_checkpoints(run)]}\\n")
"""


def test_no_process_leaves_a_save_before_it_is_complete_or_has_failed(tmp_path: Path):
    """The main process is slow to flush; then its disk is full: the other one knows both."""
    script = tmp_path / "together.py"
    script.write_text(TOGETHER)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [sys.executable, *launcher, str(script), str(tmp_path / "run")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(done.stdout.splitlines()) == ["0 [5]", "0 failed [5]", "1 [5]", "1 failed [5]"]


@dataclass(frozen=True)
class Two(World):
    """One of two processes; the other one has nothing to report."""

    told_all: list[str] = field(default_factory=list)

    def each(self, value: object, group: object = None) -> list[object]:
        self.told_all.append(str(value))
        return [value, ""] if self.main else ["", value]


def two(rank: int) -> Two:
    return Two(rank, 2, torch.device("cpu"), None)


def in_many_files(path: Path) -> Path:
    """A checkpoint of a few bytes per file, so that there are several."""
    return save_checkpoint(RunDir(path), TrainState(step=1), *_trained(), keep=1)


def test_a_process_begins_another_file_when_one_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """By hand: of 16 bytes per file and process, tensors of 8, 8, 4, 40 and 4 bytes."""
    sizes = (2, 2, 1, 10, 1)
    state = {f"t{number}": torch.zeros(size) for number, size in enumerate(sizes)}
    monkeypatch.setattr(checkpoint, "_FILE_BYTES", 16)
    assert list(checkpoint._files(state, 1).items()) == [("t0", 1), ("t1", 1), ("t2", 2), ("t3", 2), ("t4", 4)]
    assert list(checkpoint._files(state, 2).values()) == [1, 1, 1, 1, 2]
    monkeypatch.setattr(checkpoint, "_FILE_BYTES", 600)
    model, optimizer = _trained()
    path = save_checkpoint(RunDir(tmp_path), TrainState(step=1), model, optimizer, keep=1)
    assert len(list(path.glob("*.safetensors"))) > 5
    assert read_state(path).step == 1
    fresh, fresh_optimizer = _trained(steps=1)
    load_tensors(path, fresh, fresh_optimizer, ALONE)
    before, after = tensors(model, optimizer), tensors(fresh, fresh_optimizer)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_hashes_are_of_the_files_that_this_process_wrote(tmp_path: Path):
    (tmp_path / "shard-00002-of-another.safetensors").write_bytes(b"x")
    hashes = checkpoint.write_shards(tmp_path, tensors(*_trained()), ALONE)
    assert hashes == {path.name: sha256_file(path) for path in tmp_path.glob("shard-00001-*")}
    assert len(hashes) == 1


def test_processes_share_the_checking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checkpoint, "_FILE_BYTES", 600)
    path = in_many_files(tmp_path)
    seen: dict[int, list[str]] = {0: [], 1: []}
    for rank in seen:
        with monkeypatch.context() as patch:
            patch.setattr(
                checkpoint, "sha256_file", lambda file, rank=rank: seen[rank].append(file.name) or sha256_file(file)
            )
            assert read_state(path, two(rank)).step == 1
    names = sorted(file.name for file in path.glob("*.safetensors"))
    assert sorted(seen[0] + seen[1]) == names
    assert seen[0] == names[::2]


def test_the_first_sentence_is_said_by_the_main_process_and_the_others_leave(tmp_path: Path):
    path = in_many_files(tmp_path)
    next(path.glob("*.safetensors")).unlink()
    with pytest.raises(CheckpointError, match=r"\.safetensors: is missing"):
        read_state(path, two(0))

    class Bad(Two):
        def each(self, value: object, group: object = None) -> list[object]:
            return ["the main one's sentence", value]

    with pytest.raises(OtherProcessError):
        read_state(path, Bad(1, 2, torch.device("cpu"), None))
    with pytest.raises(CheckpointError, match="the main one's sentence") as caught:
        read_state(path, Bad(0, 2, torch.device("cpu"), None))
    assert caught.value.hint == "there is no older checkpoint; start again with --force"


def test_what_the_library_wraps_is_unwrapped_and_said_in_one_line(tmp_path: Path):
    path = in_many_files(tmp_path)
    other = SMALL.model_copy(update={"n_layers": 3})
    with pytest.raises(CheckpointError) as caught:
        load_tensors(path, *_trained(other), ALONE)
    assert caught.value.message.startswith(f"{path}: does not hold this model's state: ")
    assert "layers.2" in caught.value.message
    assert "\n" not in caught.value.message


def test_weights_read_in_place_are_those_that_were_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checkpoint, "_FILE_BYTES", 600)
    model, optimizer = _trained()
    state = TrainState(step=1, recipe={"model": SMALL.model_dump(exclude_none=True)})
    path = save_checkpoint(RunDir(tmp_path), state, model, optimizer, keep=1)
    assert len(list(path.glob("*.safetensors"))) > 3
    with CheckpointWeights(path) as stored:
        stored.check({name: parameter.shape for name, parameter in model.named_parameters()})
        for name, parameter in model.named_parameters():
            assert torch.equal(stored.tensor(name), parameter), name


def test_saving_and_loading_say_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd):
    logging.getLogger("torch.distributed.checkpoint").setLevel(logging.NOTSET)
    path = in_many_files(tmp_path)
    load_tensors(path, *_trained(), ALONE)
    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []
    assert logging.getLogger("torch.distributed.checkpoint").level == logging.CRITICAL
    assert logging.getLogger().level < logging.CRITICAL
    assert capfd.readouterr() == ("", "")


def test_the_last_of_several_files_that_do_not_belong_does_not_hide_the_first(tmp_path: Path):
    path = in_many_files(tmp_path)
    for name in ("b", "a"):
        (path / name).write_bytes(b"")
    with pytest.raises(CheckpointError, match="/a: does not belong to this checkpoint"):
        read_state(path)
