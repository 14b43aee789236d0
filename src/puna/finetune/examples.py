"""The examples of a data build, read back from its documents."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from puna.chat.example import Example
from puna.core.errors import DataError
from puna.core.layout import DataDir
from puna.data.document_files import read_documents
from puna.data.documents import documents_files, documents_record


class SourceExample(NamedTuple):
    """An example and where it comes from."""

    source: str
    """The source's name in the recipe."""
    id: str
    """Unique in its source."""
    example: Example


def read_examples(build: DataDir, split: str) -> Iterator[SourceExample]:
    """All examples of a split, source by source in the recipe's order, those of a source in the order of its files.

    Memory: a few examples at a time.

    Args:
        build: A data build of a recipe with [finetune].
        split: `train` or `heldout`.

    Raises:
        DataError: There are no documents, a file is missing or damaged, or they are text and not examples.
    """
    for source in documents_record(build)["results"]:
        for file in documents_files(build, source, split):
            yield from examples_in(build.documents / file.path, source)


def examples_in(path: Path, source: str) -> Iterator[SourceExample]:
    """The examples in one file of documents (`puna.data.documents.documents_files` lists them).

    Args:
        path: The file.
        source: The name of the source that it is of.

    Raises:
        DataError: It is missing or damaged, or holds text and not examples.
    """
    for number, document in enumerate(read_documents(path, source), start=1):
        if not document.turns:
            raise DataError(
                f"{path}: line {number} is plain text and not an example of instruction tuning",
                hint='build the data again from sources with format = "conversations", "preferences" or "tasks"',
            )
        yield SourceExample(source, document.id, Example.parse(document.turns, f"{path}: line {number}"))
