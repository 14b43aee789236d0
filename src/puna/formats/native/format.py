"""Puna's own model directory, as a record. `puna import` writes it, so exports do not."""

from pathlib import Path
from typing import TYPE_CHECKING

from puna.formats.format import Format

if TYPE_CHECKING:
    from puna.formats.checkpoint import Checkpoint, Hints


def _recognises(path: Path) -> bool:
    from puna.formats.native.read import is_native

    return is_native(path)


def _open(path: Path, hints: "Hints") -> "Checkpoint":
    from puna.formats.native.read import open_native

    return open_native(path, hints)


PUNA = Format(name="puna", title="Puna model", recognises=_recognises, reader=_open, holds_chat_template=True)
