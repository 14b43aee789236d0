"""The checkpoint of a Puna run, as a record. Only training writes it."""

from pathlib import Path
from typing import TYPE_CHECKING

from puna.core.schema.train_state import is_checkpoint
from puna.formats.format import Format

if TYPE_CHECKING:
    from puna.formats.checkpoint import Checkpoint, Hints


def _open(path: Path, hints: "Hints") -> "Checkpoint":
    from puna.formats.moment.read import open_moment

    return open_moment(path, hints)


MOMENT = Format(name="puna-checkpoint", title="checkpoint of a Puna run", recognises=is_checkpoint, reader=_open)
"""A checkpoint of a run, read one tensor at a time; the state of its optimizer is left out."""
