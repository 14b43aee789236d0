"""OpenLM's checkpoints, as a record."""

from pathlib import Path
from typing import TYPE_CHECKING

from puna.formats.format import Format, Job

if TYPE_CHECKING:
    from puna.formats.checkpoint import Checkpoint, Hints


def _recognises(path: Path) -> bool:
    from puna.formats.openlm.read import is_openlm

    return is_openlm(path)


def _open(path: Path, hints: "Hints") -> "Checkpoint":
    from puna.formats.openlm.read import open_openlm

    return open_openlm(path, hints)


def _write(source: "Checkpoint", job: Job) -> list[str]:
    from puna.formats.openlm.write import write_openlm

    write_openlm(source, job.tokenizer, job.directory)
    return []


OPENLM = Format(name="openlm", title="OpenLM checkpoint", recognises=_recognises, reader=_open, writer=_write)
