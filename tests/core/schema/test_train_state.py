"""`state.json` of a checkpoint: read back as it was written, and refused in a sentence where it was not."""

import hashlib
import json
from pathlib import Path

import pytest

from puna.core.errors import CheckpointError
from puna.core.files import sha256_json
from puna.core.layout import RunDir
from puna.core.schema.lineage import Parent
from puna.core.schema.train_state import TrainState, directory_of, list_checkpoints, read_header, write_state

HASHES = {"shard-00001.safetensors": "0" * 64}


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "run")


def written(run: RunDir, step: int, **fields: object) -> Path:
    directory = directory_of(run, step)
    directory.mkdir(parents=True)
    write_state(directory, TrainState(step=step, **fields), HASHES)
    return directory


def test_what_is_read_is_what_was_written(run: RunDir):
    state = {"shifts": [(2, 1)], "train_seconds": 0.1, "history": [[1.5, 2.0]], "recipe": {"name": "tiny"}}
    directory = written(run, 5, **state)
    assert read_header(directory) == (TrainState(step=5, **state), HASHES)


def test_lineage_is_read_back_and_a_state_without_one_has_none(run: RunDir):
    first = Parent(how="continued", run="base", place="models/base", weights="ab" * 32)
    second = Parent(how="extended", run="tiny", place="runs/tiny", step=24, tokens=6144, changes=["a: 1 -> 2"])
    assert read_header(written(run, 5, lineage=[first, second]))[0].lineage == [first, second]
    file = directory_of(run, 5) / "state.json"
    header = json.loads(file.read_text())
    del header["state"]["lineage"]
    file.write_text(json.dumps(header | {"state_sha256": sha256_json(header["state"])}))
    assert read_header(file.parent)[0].lineage == []


def test_batches_after_a_rollback_are_passed_over():
    state = TrainState(shifts=[(10, 5), (20, 2)])
    assert [state.batch_number(step) for step in (0, 9, 10, 19, 20, 30)] == [0, 9, 15, 24, 27, 37]


def test_a_checkpoint_under_the_name_of_another_step_is_refused_by_its_own(run: RunDir):
    directory = written(run, 5)
    renamed = directory.rename(directory_of(run, 7))
    with pytest.raises(CheckpointError, match=r"step-00000007: holds the checkpoint of step 5") as caught:
        read_header(renamed)
    assert "rename it to step-00000005" in caught.value.hint
    assert read_header(renamed.rename(run.root / "best"))[0].step == 5


def test_only_complete_checkpoints_are_listed_oldest_first(run: RunDir):
    names = ("step-00000010", "step-00000005", "step-00000015.tmp", ".tmp-step-00000003", "step-5", "step-000000007")
    for name in (*names, "other"):
        (run.checkpoints / name).mkdir(parents=True)
    assert list_checkpoints(run) == [(5, directory_of(run, 5)), (10, directory_of(run, 10))]


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "[]", '{"format": "puna-checkpoint"}',
        '{"format": "puna-checkpoint", "version": 2, "sha256": {"a": "b"}, "state": {"step": "five"}}',
        '{"format": "puna-checkpoint", "version": 2, "sha256": {}, "state": {}}',
        '{"format": "puna-checkpoint", "version": 2, "sha256": [], "state": []}',
    ],
)  # fmt: skip
def test_damaged_state_is_refused_and_the_older_checkpoint_offered(run: RunDir, content: str):
    directory = written(run, 5)
    (directory / "state.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"state\.json: is missing or damaged") as caught:
        read_header(directory)
    assert caught.value.hint == "there is no older checkpoint; start again with --force"
    written(run, 4)
    with pytest.raises(CheckpointError) as caught:
        read_header(directory)
    assert caught.value.hint == f"delete {directory} to go on from the older checkpoint of step 4"


def test_state_that_was_changed_is_refused(run: RunDir):
    directory = written(run, 1)
    header = json.loads((directory / "state.json").read_text())
    header["state"]["step"] = 2
    (directory / "state.json").write_text(json.dumps(header))
    with pytest.raises(CheckpointError, match=r"state\.json: is missing or damaged"):
        read_header(directory)


def test_a_state_of_no_shards_is_refused_though_nothing_of_it_was_changed(run: RunDir):
    directory = written(run, 1)
    write_state(directory, TrainState(step=1), {})
    with pytest.raises(CheckpointError, match=r"state\.json: is missing or damaged"):
        read_header(directory)


def test_the_file_says_what_it_is_and_proves_itself(run: RunDir):
    header = json.loads((written(run, 7, data_fingerprint="f") / "state.json").read_text())
    assert (header["format"], header["version"], header["sha256"]) == ("puna-checkpoint", 2, HASHES)
    assert header["state"]["step"] == 7
    written_as = json.dumps(header["state"], sort_keys=True, separators=(",", ":")).encode()
    assert header["state_sha256"] == hashlib.sha256(written_as).hexdigest()
    assert directory_of(run, 7) == run.root / "checkpoints" / "step-00000007"


def test_the_newest_of_the_older_checkpoints_is_offered(run: RunDir):
    for step in (3, 4, 9):
        written(run, step)
    directory = written(run, 5)
    (directory / "state.json").unlink()
    with pytest.raises(CheckpointError) as caught:
        read_header(directory)
    assert caught.value.message == f"{directory / 'state.json'}: is missing or damaged"
    assert caught.value.hint == f"delete {directory} to go on from the older checkpoint of step 4"


def test_state_of_another_version_is_refused(run: RunDir):
    directory = written(run, 1)
    header = json.loads((directory / "state.json").read_text()) | {"version": 99}
    (directory / "state.json").write_text(json.dumps(header))
    with pytest.raises(CheckpointError, match=r"is 'puna-checkpoint' version 99, this version of Puna reads .* 2"):
        read_header(directory)
    (directory / "state.json").write_text(json.dumps(header | {"version": 2, "format": "another"}))
    with pytest.raises(CheckpointError, match="is 'another' version 2"):
        read_header(directory)
