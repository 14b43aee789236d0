"""The record of the format GGUF."""

from pathlib import Path
from typing import TYPE_CHECKING

from puna.formats.format import Format, Job, Option
from puna.formats.gguf.file_types import FILE_TYPES, MEDIUM
from puna.formats.gguf.types import DTYPES

if TYPE_CHECKING:
    from puna.core.schema.export import OracleResults
    from puna.formats.checkpoint import Checkpoint, Hints
    from puna.tokenizer.tokenizer import Tokenizer

TYPE = Option(
    name="type",
    help=f"{', '.join(FILE_TYPES)}; that of the weights' dtype where it is left out",
    choices=(*FILE_TYPES, *MEDIUM),
    replaces_dtype=True,
)


def _recognises(path: Path) -> bool:
    from puna.formats.gguf.read import is_gguf

    return is_gguf(path)


def _open(path: Path, hints: "Hints") -> "Checkpoint":
    from puna.formats.gguf.read import open_gguf

    return open_gguf(path, hints)


def _write(source: "Checkpoint", job: Job) -> list[str]:
    from puna.formats.gguf.write import write_gguf

    of_dtype = {dtype: kind for kind, dtype in DTYPES.items()}
    kind = job.options.get(TYPE.name) or of_dtype[job.dtype or source.stored["tok_embeddings.weight"].dtype]
    return write_gguf(source, job.tokenizer, job.directory, file_type=str(kind), name=job.name)


def _ask(written: "Checkpoint", directory: Path, tokenizer: "Tokenizer | None") -> "OracleResults":
    from puna.formats.gguf.files import gguf_file
    from puna.formats.gguf.llama_cpp import ask_llama_cpp

    return ask_llama_cpp(written, gguf_file(directory), tokenizer)


# Gains are float32 in every GGUF file and keep all their bits, so matrices alone are rounded, by the writer.
GGUF = Format(
    name="gguf", title="GGUF file", recognises=_recognises, reader=_open, writer=_write, options=(TYPE,),
    holds_chat_template=True, rounds_itself=True, oracle=_ask,
)  # fmt: skip
