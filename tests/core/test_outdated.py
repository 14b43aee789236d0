"""A run that has learned to chat is outdated as soon as the model beside it is another one."""

from pathlib import Path

from puna.core.files import sha256_json
from puna.core.layout import RunDir
from puna.core.outdated import chat_is_outdated
from puna.core.records import Record
from puna.core.schema.train_state import TrainState, directory_of, write_state


def finished(run: RunDir, weights: str) -> str:
    """Leave the record of a model with these weights; returns their hash as runs that begin with them know it."""
    outputs = {"model.safetensors": weights}
    Record("model", outputs=outputs).write(run.model / "record.json")
    return sha256_json(outputs)


def test_a_finished_one_is_where_the_model_has_changed(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    assert not chat_is_outdated(run)
    began = finished(run, "1" * 64)
    assert not chat_is_outdated(run)
    Record("train", inputs={"initial_weights": began}).write(run.chat.record)
    assert not chat_is_outdated(run)
    finished(run, "2" * 64)
    assert chat_is_outdated(run)
    Record("train").write(run.chat.record)  # which does not say what it began with
    assert not chat_is_outdated(run)


def test_one_that_is_not_finished_is_too(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    state = TrainState(step=3, initial_weights=finished(run, "1" * 64))
    directory_of(run.chat, 3).mkdir(parents=True)
    write_state(directory_of(run.chat, 3), state, {"rank-00000.safetensors": "0" * 64})
    assert not chat_is_outdated(run)
    finished(run, "2" * 64)
    assert chat_is_outdated(run)
