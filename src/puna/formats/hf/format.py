"""Hugging Face's directories, as a record."""

from pathlib import Path
from typing import TYPE_CHECKING

from puna.formats.format import Format, Job

if TYPE_CHECKING:
    from puna.core.schema.export import OracleResults
    from puna.formats.checkpoint import Checkpoint, Hints
    from puna.tokenizer.tokenizer import Tokenizer


def _recognises(path: Path) -> bool:
    from puna.formats.hf.read import is_hf

    return is_hf(path)


def _open(path: Path, hints: "Hints") -> "Checkpoint":
    from puna.formats.hf.read import open_hf

    return open_hf(path, hints)


def _write(source: "Checkpoint", job: Job) -> list[str]:
    from puna.formats.hf.write import write_hf

    write_hf(source, job.tokenizer, job.directory)
    return []


def _ask(written: "Checkpoint", directory: Path, tokenizer: "Tokenizer | None") -> "OracleResults":
    from puna.formats.hf.transformers import ask_transformers

    return ask_transformers(written, directory, tokenizer)


HF = Format(
    name="hf", title="Hugging Face directory", recognises=_recognises, reader=_open, writer=_write,
    holds_chat_template=True, oracle=_ask,
)  # fmt: skip
