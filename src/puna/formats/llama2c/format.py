"""llama2.c's files, as a record."""

from pathlib import Path
from typing import TYPE_CHECKING

from puna.formats.format import Format, Job

if TYPE_CHECKING:
    from puna.formats.checkpoint import Checkpoint, Hints


def _recognises(path: Path) -> bool:
    from puna.formats.llama2c.read import is_llama2c

    return is_llama2c(path)


def _open(path: Path, hints: "Hints") -> "Checkpoint":
    from puna.formats.llama2c.read import open_llama2c

    return open_llama2c(path, hints)


def _write(source: "Checkpoint", job: Job) -> list[str]:
    from puna.formats.llama2c.write import write_llama2c

    write_llama2c(source, job.tokenizer, job.directory)
    return []


LLAMA2C = Format(name="llama2c", title="llama2.c file", recognises=_recognises, reader=_open, writer=_write)
