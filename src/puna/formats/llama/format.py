"""Meta's original directories, as a record."""

from pathlib import Path
from typing import TYPE_CHECKING

from puna.formats.format import Format, Job, Option

if TYPE_CHECKING:
    from puna.formats.checkpoint import Checkpoint, Hints

MODEL_PARALLEL = Option(name="model_parallel", help="number of files; 1 where it is left out")


def _recognises(path: Path) -> bool:
    from puna.formats.llama.read import is_llama

    return is_llama(path)


def _open(path: Path, hints: "Hints") -> "Checkpoint":
    from puna.formats.llama.read import open_llama

    return open_llama(path, hints)


def _write(source: "Checkpoint", job: Job) -> list[str]:
    from puna.formats.llama.write import write_llama

    files = int(job.options.get(MODEL_PARALLEL.name, 1))
    write_llama(source, job.tokenizer, job.directory, model_parallel=files)
    return []


LLAMA = Format(
    name="llama", title="original LLaMA directory", recognises=_recognises, reader=_open, writer=_write,
    options=(MODEL_PARALLEL,),
)  # fmt: skip
