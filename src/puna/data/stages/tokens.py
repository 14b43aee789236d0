"""Turns documents into token shards: one task for each file of documents writes its part of a split's shards."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from puna.core.errors import DataError
from puna.core.files import sha256_file, storage_errors
from puna.core.layout import DataDir
from puna.data.document import Document
from puna.data.document_files import read_documents
from puna.data.tasks.counts import Counts
from puna.data.tasks.task import Progress, Task
from puna.shards.writer import Encoded, Part, ShardWriter
from puna.tokenizer.load import find_tokenizer, load_tokenizer
from puna.tokenizer.tokenizer import Tokenizer

_BATCH_CHARACTERS = 8_000_000
"""Characters of text that are encoded at one time."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Tokenize(Task):
    """Encodes the documents of one file."""

    stage: ClassVar[str] = "tokenize"

    out: DataDir
    source: str
    split: str
    documents: Path
    size: int
    """Bytes of the file of documents; an estimate if the file does not exist yet."""
    sha256: str
    """Its hash; empty if the file does not exist yet."""
    made_by: str
    """The fingerprint of the task that writes that file."""
    shard_tokens: int
    threads: int

    @property
    def made_from(self) -> Any:
        """The documents and the size of shards; the tokenizer is compared by `is_done`."""
        return [self.source, self.split, self.made_by, self.shard_tokens]

    @property
    def input_bytes(self) -> int:
        """Bytes of the compressed documents."""
        return self.size

    @property
    def is_done(self) -> bool:
        """Whether the file was encoded by the tokenizer that the build has now."""
        path = find_tokenizer(self.out.tokenizer)
        return super().is_done and path is not None and self.results().get("tokenizer") == sha256_file(path)

    def work_on(self, progress: Progress) -> Counts:
        """Encode documents in batches, in order."""
        for path in self.files():
            path.unlink()
        files = sorted(path for path in self.out.tokenizer.glob("*") if path.is_file())
        tokenizer = _tokenizer(self.out.tokenizer, tuple((path.name, sha256_file(path)) for path in files))
        if self.sha256 and not (self.documents.is_file() and sha256_file(self.documents) == self.sha256):
            raise DataError(
                f"{self.documents}: is missing, or is not the file that files.json of {self.out.documents} speaks of",
                hint=f"delete {self.out.documents} and build the data again",
            )
        writer = ShardWriter(self.directory, tokenizer, self.shard_tokens)
        with storage_errors(self.directory), writer:
            for batch in _batches(read_documents(self.documents, self.source, progress.advance)):
                encoded = tokenizer.encode_arrays([document.text for document in batch], threads=self.threads)
                for document, ids in zip(batch, encoded, strict=True):
                    writer.add(
                        Encoded(document.id, document.origin, ids, len(document.text.encode()), _facts(document))
                    )
        return {"shards": writer.shards, "text_bytes": writer.text_bytes, "tokenizer": tokenizer.sha256}

    def part(self) -> Part:
        """The shards that a finished task has written."""
        results = self.results()
        return Part(self.directory, results["shards"], results["text_bytes"], self.hashes())


def _facts(document: Document) -> dict[str, str]:
    facts = {"url": document.url, "licence": document.licence, "date": document.date}
    return {name: value for name, value in facts.items() if value}


@lru_cache(maxsize=1)
def _tokenizer(directory: Path, hashes: tuple[tuple[str, str], ...]) -> Tokenizer:
    """The tokenizer in a directory with these files, loaded once per process, so its word cache is reused."""
    return load_tokenizer(directory)


def _batches(documents: Iterator[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document.text)
        if size >= _BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    yield batch
