"""TensorBoard itself reads what was written, and forgets what it should."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from puna.core.errors import StorageError
from puna.train import events
from puna.train.events import EventFile


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    """What TensorBoard shows of a number, as (step, value)."""
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return [(event.step, event.value) for event in accumulator.Scalars(tag)]


def test_tensorboard_reads_numbers_and_texts(tmp_path: Path):
    file = EventFile(tmp_path / "board", 1)
    file.write(1, {"train/loss": 2.5, "train/memory_bytes": 2**40}, {})
    file.write(2, {"train/loss": 2.25}, {"A prompt": "A prompt and *more*"})
    file.close()
    assert scalars(tmp_path / "board", "train/loss") == [(1, 2.5), (2, 2.25)]
    assert scalars(tmp_path / "board", "train/memory_bytes") == [(1, float(2**40))]
    accumulator = EventAccumulator(str(tmp_path / "board"))
    accumulator.Reload()
    tag = accumulator.Tags()["tensors"][0]
    assert tag.startswith("A prompt")
    assert accumulator.Tensors(tag)[0].tensor_proto.string_val == [b"A prompt and *more*"]


def test_tensorboard_forgets_what_a_run_went_back_over(tmp_path: Path):
    file = EventFile(tmp_path, 1)
    for step in range(1, 8):
        file.write(step, {"loss": float(step)}, {})
    file.rewind(4)
    file.write(4, {"loss": 40.0}, {})
    file.close()
    assert scalars(tmp_path, "loss") == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 40.0)]


def test_tensorboard_forgets_what_the_session_before_wrote_after_its_checkpoint(tmp_path: Path):
    for first, value in ((1, 1.0), (3, 2.0)):
        file = EventFile(tmp_path, first)
        for step in range(first, first + 4):
            file.write(step, {"loss": value}, {})
        file.close()
    assert len(list(tmp_path.iterdir())) == 2
    assert scalars(tmp_path, "loss") == [(1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0), (5, 2.0), (6, 2.0)]


def test_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "board").write_text("")
    with pytest.raises(StorageError, match=r"board.*cannot be written \(File exists"):
        EventFile(tmp_path / "board", 1)


def test_two_files_of_one_moment_have_two_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(events.time, "time", lambda: 1.5)
    for _ in range(2):
        EventFile(tmp_path, 1).close()
    assert len(list(tmp_path.iterdir())) == 2
