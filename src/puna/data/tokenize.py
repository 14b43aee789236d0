"""Documents to token shards, source by source and split by split; those that are there already are kept."""

from collections.abc import Callable, Iterator

from puna.config.recipe import Recipe
from puna.core.console import progress
from puna.core.errors import DataError
from puna.core.files import remove, sha256_file, storage_errors
from puna.core.layout import DataDir
from puna.core.records import read_record
from puna.data.document import Document
from puna.data.documents import SPLITS, documents_file, read_documents
from puna.data.shard_format import MANIFEST, REBUILD, read_manifest
from puna.data.shard_writer import Encoded, write_shards
from puna.data.shards import TokenShards
from puna.tokenizer.tokenizer import Tokenizer

_BATCH_CHARACTERS = 8_000_000
"""Text that is encoded at one time; its ids take some 36 bytes each while they are Python's."""


def tokenize_documents(recipe: Recipe, out: DataDir, tokenizer: Tokenizer, *, threads: int) -> None:
    """Write the token shards of every source and split, and remove those of sources that the recipe does not name.

    Raises:
        DataError: The documents are missing or damaged.
        StorageError: The disk is full or not writable.
    """
    record = read_record(out.documents / "record.json")
    if record is None:
        raise DataError(f"{out.documents}: no documents are here", hint=REBUILD)
    _remove_other_sources(recipe, out)
    for source in recipe.data.sources:
        for split in SPLITS:
            path = documents_file(out, source, split)
            made_from = record["outputs"][path.name]
            if _is_current(recipe, out, tokenizer, source, split, made_from):
                continue
            if not path.is_file() or sha256_file(path) != made_from:
                raise DataError(
                    f"{path}: is missing, or is not the file that {out.documents / 'record.json'} speaks of",
                    hint=f"delete {out.documents} and build the data again",
                )
            n_bytes = record["results"][source][split]["bytes"]
            with progress(f"tokenize {source}, {split}", n_bytes, "bytes") as advance:
                encoded = _encode(read_documents(path, source), tokenizer, threads, advance)
                write_shards(
                    out.shards / source / split, encoded, tokenizer, source=source, split=split,
                    shard_tokens=recipe.data.shard_tokens, documents_sha256=made_from,
                )  # fmt: skip


def _remove_other_sources(recipe: Recipe, out: DataDir) -> None:
    with storage_errors(out.shards):
        for path in out.shards.glob("*"):
            if path.name not in recipe.data.sources and any(path.glob(f"*/{MANIFEST}")):
                remove(path)


def _is_current(
    recipe: Recipe, out: DataDir, tokenizer: Tokenizer, source: str, split: str, documents_sha256: str
) -> bool:
    """Whether shards are there that are whole and were made from these documents in this way."""
    directory = out.shards / source / split
    try:
        TokenShards.open(directory, tokenizer_sha256=tokenizer.sha256)
        manifest = read_manifest(directory)
    except DataError:
        return False
    return (manifest["documents_sha256"], manifest["shard_tokens"]) == (documents_sha256, recipe.data.shard_tokens)


def _encode(
    documents: Iterator[Document], tokenizer: Tokenizer, threads: int, advance: Callable[[float], None]
) -> Iterator[Encoded]:
    """Encode documents in batches, in order."""
    batch: list[Document] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document.text)
        if size >= _BATCH_CHARACTERS:
            yield from _encode_batch(batch, tokenizer, threads, advance)
            batch, size = [], 0
    yield from _encode_batch(batch, tokenizer, threads, advance)


def _encode_batch(
    batch: list[Document], tokenizer: Tokenizer, threads: int, advance: Callable[[float], None]
) -> Iterator[Encoded]:
    encoded = tokenizer.encode_batch([document.text for document in batch], threads=threads)
    for document, ids in zip(batch, encoded, strict=True):
        n_bytes = len(document.text.encode())
        advance(n_bytes)
        yield Encoded(document.id, document.origin, ids, n_bytes)
