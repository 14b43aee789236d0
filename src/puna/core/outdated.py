"""Whether the run in which a model has learned to chat began with the model that is there now."""

from puna.core.files import sha256_json
from puna.core.layout import RunDir
from puna.core.records import read_record
from puna.core.schema.train_state import list_checkpoints, read_header


def chat_is_outdated(run: RunDir) -> bool:
    """Whether `chat/` of a run was tuned from other weights than its finished model has, which was trained since then.

    Nothing is read but descriptions. Where one of the two does not say, it is not.

    Args:
        run: The run whose model has learned to chat.

    Raises:
        DataError: A record is damaged.
        CheckpointError: The newest checkpoint of the tuned run is damaged.
    """
    model = read_record(run.model / "record.json")
    began = _began_with(run.chat)
    return bool(model and began and sha256_json(model["outputs"]) != began)


def _began_with(run: RunDir) -> str:
    """The hash of the weights that a run began with, as `puna.train.initial` forms it; empty if it has not begun."""
    if (record := read_record(run.record)) is not None:
        return str(record["inputs"].get("initial_weights", ""))
    checkpoints = list_checkpoints(run)
    return read_header(checkpoints[-1][1])[0].initial_weights if checkpoints else ""
