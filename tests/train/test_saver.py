"""When checkpoints are written and by whom, seen from one process; a world that knows its lines plays the others."""

import errno
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from puna.config.recipe import CheckpointConfig, ModelConfig, OptimConfig
from puna.core.errors import StorageError
from puna.core.layout import RunDir
from puna.core.schema.train_state import TrainState, list_checkpoints, read_header
from puna.model.llama import Llama
from puna.parallel.world import World
from puna.train import saver
from puna.train.checkpoint import read_state
from puna.train.optimizer import build_optimizer
from puna.train.saver import Saver

ALONE = World(0, 1, torch.device("cpu"), None)
SMALL = ModelConfig(dim=8, n_layers=1, n_heads=2, n_kv_heads=1, ffn_dim=16, vocab_size=260, context=8)
Training = tuple[Llama, Any]


@pytest.fixture
def training() -> Training:
    model = Llama(SMALL)
    return model, build_optimizer(model, OptimConfig())


@dataclass(frozen=True)
class Played(World):
    """One of two processes; what the other one says is known beforehand."""

    words: list[str] = field(default_factory=list)
    """What the main process says, in order; on the main process itself, what it has said."""
    parts: list[Any] = field(default_factory=list)
    """What the other process brings whenever all bring something."""
    groups: list[Any] = field(default_factory=list)
    """The groups in which they did."""

    def told(self, value: str | None) -> str:
        if self.main:
            self.words.append(value or "")
            return value or ""
        assert value is None, "only the main process has something to say"
        return self.words.pop(0)

    def each(self, value: Any, group: Any = None) -> list[Any]:
        self.groups.append(group)
        other = self.parts.pop(0)
        return [value, other] if self.main else [other, value]


def played(rank: int, *, words: tuple[str, ...] = (), parts: tuple[Any, ...] = ()) -> Played:
    return Played(rank, 2, torch.device("cpu"), "checkpoints", list(words), list(parts))  # type: ignore[arg-type]


def write(run: RunDir, world: World, training: Training, step: int = 5, **config: Any) -> None:
    with Saver(run, CheckpointConfig(**config), world) as writer:
        writer.save(TrainState(step=step), *training)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Holds writers before they write until it is set."""
    event, shards = threading.Event(), saver.write_shards

    def wait(*arguments: Any) -> dict[str, str]:
        assert event.wait(60)
        return shards(*arguments)

    monkeypatch.setattr(saver, "write_shards", wait)
    return event


def test_training_goes_on_while_a_checkpoint_is_written_and_the_next_save_waits(
    tmp_path: Path, training: Training, held: threading.Event
):
    run = RunDir(tmp_path)
    writer = Saver(run, CheckpointConfig(keep=5), ALONE)
    state = TrainState(step=5, history=[[1.0]])
    writer.save(state, *training)
    state.step = 6
    state.history.append([2.0])
    assert list_checkpoints(run) == []
    threading.Timer(0, held.set).start()
    writer.save(TrainState(step=10), *training)
    assert 5 in [step for step, _ in list_checkpoints(run)], "the second save began when the first was complete"
    writer.wait()
    assert [step for step, _ in list_checkpoints(run)] == [5, 10]
    assert read_header(list_checkpoints(run)[0][1])[0] == TrainState(step=5, history=[[1.0]])


def test_a_save_that_is_not_asynchronous_is_complete_when_it_returns(tmp_path: Path, training: Training):
    writer = Saver(RunDir(tmp_path), CheckpointConfig(asynchronous=False), ALONE)
    before = threading.active_count()
    writer.save(TrainState(step=5), *training)
    assert [step for step, _ in list_checkpoints(RunDir(tmp_path))] == [5]
    assert threading.active_count() == before


def test_the_time_that_training_stood_still_is_told(
    tmp_path: Path, training: Training, monkeypatch: pytest.MonkeyPatch
):
    ticks = iter([10.0, 12.5])
    monkeypatch.setattr(saver, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    writer = Saver(RunDir(tmp_path), CheckpointConfig(asynchronous=False), ALONE)
    assert writer.save(TrainState(step=5), *training) == 2.5


def test_a_failed_save_is_known_at_once_and_raised_once(
    tmp_path: Path, training: Training, monkeypatch: pytest.MonkeyPatch
):
    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    writer = Saver(RunDir(tmp_path), CheckpointConfig(), ALONE)
    assert not writer.failed
    with monkeypatch.context() as patch:
        patch.setattr(saver, "write_state", full)
        writer.save(TrainState(step=5), *training)
        assert writer._thread is not None
        writer._thread.join()
    assert writer.failed
    with pytest.raises(StorageError, match="no space left"):
        writer.save(TrainState(step=10), *training)
    assert not writer.failed
    assert list_checkpoints(RunDir(tmp_path)) == []
    writer.save(TrainState(step=15), *training)
    writer.wait()
    writer.wait()
    assert [step for step, _ in list_checkpoints(RunDir(tmp_path))] == [15]


@pytest.mark.parametrize(("error", "complete"), [(ValueError, True), (SystemExit, True), (KeyboardInterrupt, False)])
def test_an_error_waits_for_the_save_and_says_nothing_of_it_but_ctrl_c_waits_for_nobody(
    tmp_path: Path, training: Training, held: threading.Event, error: type[BaseException], complete: bool
):
    writers: list[threading.Thread | None] = []

    def fail() -> None:
        with Saver(RunDir(tmp_path), CheckpointConfig(), ALONE) as writer:
            writer.save(TrainState(step=5), *training)
            writers.append(writer._thread)
            if complete:
                threading.Timer(0, held.set).start()
            raise error("of the training")

    with pytest.raises(error, match="of the training"):
        fail()
    assert bool(list_checkpoints(RunDir(tmp_path))) == complete
    held.set()
    for thread in writers:
        assert thread is not None
        thread.join()


def test_a_process_that_dies_is_not_kept_alive_by_its_writer(
    tmp_path: Path, training: Training, held: threading.Event
):  # fmt: skip
    writer = Saver(RunDir(tmp_path), CheckpointConfig(), ALONE)
    writer.save(TrainState(step=5), *training)
    assert writer._thread is not None
    assert writer._thread.daemon
    held.set()
    writer.wait()


def test_the_device_is_told_to_finish_the_copies_before_the_update(
    tmp_path: Path, training: Training, monkeypatch: pytest.MonkeyPatch
):
    calls: list[str] = []
    writer = Saver(RunDir(tmp_path), CheckpointConfig(), ALONE)
    for name in ("before_update", "wait"):
        monkeypatch.setattr(writer._staging, name, lambda name=name: calls.append(name))
    writer.before_update()
    assert calls == ["before_update"]
    writer.save(TrainState(step=5), *training)
    writer.wait()
    assert calls == ["before_update", "wait"], "copies are complete before they are written"


@pytest.mark.parametrize(
    ("keep", "every", "left"),
    [(1, 0, [40]), (3, 0, [20, 30, 40]), (1, 20, [20, 40]), (2, 30, [30, 40]), (9, 7, [10, 20, 30, 40])],
)
def test_the_newest_stay_and_multiples(tmp_path: Path, training: Training, keep: int, every: int, left: list[int]):
    for step in (10, 20, 30, 40):
        write(RunDir(tmp_path), ALONE, training, step, keep=keep, keep_every=every, asynchronous=False)
    assert [step for step, _ in list_checkpoints(RunDir(tmp_path))] == left


def test_the_main_process_tells_where_to_write_and_gathers_the_hashes_of_all(tmp_path: Path, training: Training):
    run = RunDir(tmp_path)
    world = played(0, parts=(({"shard-00002-model-00001-of-00001.safetensors": "f" * 64}, ""),))
    write(run, world, training)
    ((_, path),) = list_checkpoints(run)
    temporary, final = world.words
    assert Path(temporary).parent == path.parent
    assert temporary != final == str(path)
    assert not Path(temporary).exists()
    _, hashes = read_header(path)
    assert set(hashes) == {file.name for file in path.glob("shard-00001-*")} | {
        "shard-00002-model-00001-of-00001.safetensors"
    }
    assert world.groups == ["checkpoints"]


def test_another_process_writes_its_part_where_it_is_told_and_leaves_when_all_is_complete(
    tmp_path: Path, training: Training
):
    (tmp_path / "temporary").mkdir()
    world = played(1, words=(str(tmp_path / "temporary"), "the final name"), parts=(({}, ""),))
    write(RunDir(tmp_path / "run"), world, training)
    assert world.words == []
    names = [path.name for path in (tmp_path / "temporary").iterdir()]
    assert names
    assert all(name.startswith("shard-00002-") for name in names)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("words", [("",), ("TEMPORARY", "")])
def test_another_process_fails_where_the_main_one_cannot_begin_or_end(
    tmp_path: Path, training: Training, words: tuple[str, ...]
):
    (tmp_path / "temporary").mkdir()
    said = tuple(word.replace("TEMPORARY", str(tmp_path / "temporary")) for word in words)
    with pytest.raises(StorageError, match="step-00000005: cannot be written by the main process"):
        write(RunDir(tmp_path / "run"), played(1, words=said, parts=(({}, ""),)), training)
    assert bool(list((tmp_path / "temporary").iterdir())) == (len(words) == 2)


def fail_in(where: str) -> Callable[[pytest.MonkeyPatch], None]:
    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    return lambda patch: patch.setattr(saver, where, full)


@pytest.mark.parametrize(("where", "after"), [("write_state", [""]), ("write_shards", [])])
def test_others_hear_that_the_main_process_has_failed(
    tmp_path: Path, training: Training, monkeypatch: pytest.MonkeyPatch, where: str, after: list[str]
):
    """Where its shards fail, they hear it with the hashes; where the rest does, by a word of its own."""
    fail_in(where)(monkeypatch)
    world = played(0, parts=(({}, ""),))
    with pytest.raises(StorageError, match="no space left"):
        write(RunDir(tmp_path), world, training)
    assert Path(world.words[0]).parent == RunDir(tmp_path).checkpoints
    assert world.words[1:] == after
    assert list_checkpoints(RunDir(tmp_path)) == []


def test_others_hear_that_the_main_process_cannot_even_begin(tmp_path: Path, training: Training):
    (tmp_path / "checkpoints").write_text("a file in the way")
    world = played(0)
    with pytest.raises(StorageError):
        write(RunDir(tmp_path), world, training)
    assert world.words == [""]


def test_the_main_process_says_who_could_not_write(tmp_path: Path, training: Training):
    world = played(0, parts=(({}, "disk of node 7: no space left"),))
    with pytest.raises(StorageError, match="another process could not write its part: disk of node 7: no space left"):
        write(RunDir(tmp_path), world, training)
    assert list_checkpoints(RunDir(tmp_path)) == []


def test_a_part_that_cannot_be_written_is_told_to_all_before_it_is_raised(
    tmp_path: Path, training: Training, monkeypatch: pytest.MonkeyPatch
):
    fail_in("write_shards")(monkeypatch)
    (tmp_path / "temporary").mkdir()
    brought: list[Any] = []
    world = played(1, words=(str(tmp_path / "temporary"), ""), parts=(({}, ""),))
    monkeypatch.setattr(Played, "each", lambda self, value, group=None: brought.append(value) or [({}, ""), value])
    with pytest.raises(StorageError, match="no space left"):
        write(RunDir(tmp_path), world, training)
    ((hashes, sentence),) = brought
    assert hashes == {}
    assert "no space left" in sentence


def test_a_checkpoint_of_the_same_step_is_replaced(tmp_path: Path, training: Training):
    model, _ = training
    for value in (1.0, 2.0):
        with torch.no_grad():
            model.output.weight.fill_(value)
        write(RunDir(tmp_path), ALONE, training, asynchronous=False)
    ((_, path),) = list_checkpoints(RunDir(tmp_path))
    assert read_state(path).step == 5
    (shard,) = path.glob("*.safetensors")
    assert (load_file(shard)["model.output.weight"] == 2.0).all()
