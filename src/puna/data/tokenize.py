"""Documents to token shards, source by source and split by split; those that are there already are kept."""

from collections.abc import Iterator

from puna.config.recipe import Recipe
from puna.core.console import progress
from puna.core.errors import DataError
from puna.core.layout import DataDir
from puna.core.records import read_record
from puna.data.document import Document
from puna.data.documents import SPLITS, documents_file, read_documents
from puna.data.shards import MANIFEST, Encoded, read_manifest, write_shards
from puna.tokenizer.tokenizer import Tokenizer

_BATCH_BYTES = 8_000_000
"""Text that is encoded at one time."""


def tokenize_documents(recipe: Recipe, out: DataDir, tokenizer: Tokenizer, *, threads: int) -> None:
    """Write the token shards of every source and split.

    Raises:
        DataError: The documents are missing or damaged.
        StorageError: The disk is full or not writable.
    """
    record = read_record(out.documents / "record.json")
    if record is None:
        raise DataError(f"{out.documents}: no documents are here")
    for source in recipe.data.sources:
        for split in SPLITS:
            path = documents_file(out, source, split)
            made_from = record["outputs"][path.name]
            directory = out.shards / source / split
            if (directory / MANIFEST).exists():
                manifest = read_manifest(directory)
                if (manifest["documents_sha256"], manifest["tokenizer"]["sha256"]) == (made_from, tokenizer.sha256):
                    continue
            n_bytes = record["results"][source][split]["bytes"]
            with progress(f"tokenize {source}, {split}", n_bytes, "bytes") as advance:
                encoded = _encode(read_documents(path, source), tokenizer, threads, advance)
                write_shards(
                    directory, encoded, tokenizer, source=source, split=split,
                    shard_tokens=recipe.data.shard_tokens, documents_sha256=made_from,
                )  # fmt: skip


def _encode(documents: Iterator[Document], tokenizer: Tokenizer, threads: int, advance: object) -> Iterator[Encoded]:
    """Encode documents in batches of `_BATCH_BYTES`, in order."""
    batch: list[Document] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document.text)
        if size >= _BATCH_BYTES:
            yield from _encode_batch(batch, tokenizer, threads, advance)
            batch, size = [], 0
    yield from _encode_batch(batch, tokenizer, threads, advance)


def _encode_batch(batch: list[Document], tokenizer: Tokenizer, threads: int, advance: object) -> Iterator[Encoded]:
    encoded = tokenizer.encode_batch([document.text for document in batch], threads=threads)
    for document, ids in zip(batch, encoded, strict=True):
        n_bytes = len(document.text.encode())
        advance(n_bytes)  # type: ignore[operator]
        yield Encoded(document.id, document.origin, ids, n_bytes)
