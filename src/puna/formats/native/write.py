"""Puna's own model directory, written one tensor at a time."""

from pathlib import Path
from typing import Any

from puna.core.records import Record
from puna.formats.checkpoint import Checkpoint
from puna.model.files import write_model
from puna.tokenizer.tokenizer import Tokenizer


def write_native(
    source: Checkpoint, tokenizer: Tokenizer | None, directory: Path, *, inputs: dict[str, str], results: dict[str, Any]
) -> None:
    """Write a model directory that every command of Puna reads.

    Args:
        source: The weights.
        tokenizer: Its tokenizer; without one the model can be exported and measured, but takes no text.
        directory: An empty directory.
        inputs: SHA-256 of the files it was made from, for its record.
        results: Findings about these files, for its record.

    Raises:
        FormatError: The source is damaged.
        OSError: The disk is full.
    """
    record = Record("import", config=source.config.model_dump(exclude_none=True), inputs=inputs, results=results)
    likes = {name: source.like(name) for name in source.weights}
    write_model(
        directory, source.config, likes, source.tensor, tokenizer=tokenizer, chat_template=source.chat_template,
        record=record,
    )  # fmt: skip
