"""Write token shards: documents in, one complete directory out."""

import json
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from puna.core.files import atomic_directory, sha256_file, write_json
from puna.data.shard_format import FORMAT, KINDS, MANIFEST, ROW, VERSION, token_dtype
from puna.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Encoded:
    """A document ready to be written."""

    id: str
    origin: str
    ids: list[int]
    """Token ids, without <s> and </s>."""
    text_bytes: int


def write_shards(
    out: Path, documents: Iterable[Encoded], tokenizer: Tokenizer, *, source: str, split: str, shard_tokens: int,
    documents_sha256: str,
) -> None:  # fmt: skip
    """Write all documents of one source and split; the directory appears when it is complete.

    Args:
        out: The directory to make.
        documents: In the order in which they are to stand.
        tokenizer: Whose ids they are.
        source: Its name.
        split: `train` or `heldout`.
        shard_tokens: A shard is closed before the document that would exceed this.
        documents_sha256: The hash of the documents' file.

    Raises:
        StorageError: The disk is full or not writable.
    """
    with atomic_directory(out, replace=True) as directory:
        writer = _Writer(directory, tokenizer, shard_tokens)
        with writer.open_files:
            for document in documents:
                writer.add(document)
            writer.close_shard()
        files = [
            {"name": path.name, "bytes": path.stat().st_size, "sha256": sha256_file(path)}
            for path in sorted(directory.iterdir())
        ]
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "source": source,
            "split": split,
            "dtype": writer.dtype.name,
            "tokens": sum(shard["tokens"] for shard in writer.shards),
            "documents": sum(shard["documents"] for shard in writer.shards),
            "text_bytes": writer.text_bytes,
            "tokenizer": {
                "sha256": tokenizer.sha256,
                "vocab_size": tokenizer.vocab_size,
                "bos_id": tokenizer.bos_id,
                "eos_id": tokenizer.eos_id,
            },
            "documents_sha256": documents_sha256,
            "shard_tokens": shard_tokens,
            "shards": writer.shards,
            "files": files,
        }
        write_json(directory / MANIFEST, manifest)


@dataclass
class _Writer:
    """Appends documents to the open shard and begins the next one when it is full."""

    directory: Path
    tokenizer: Tokenizer
    shard_tokens: int
    shards: list[dict[str, int]] = field(default_factory=list)
    text_bytes: int = 0
    open_files: ExitStack = field(default_factory=ExitStack)
    _files: list[BinaryIO] = field(default_factory=list)
    _start: int = 0
    """Tokens in all shards so far."""
    _tokens: int = 0
    """Tokens in the open shard."""
    _documents: int = 0
    _origin: int = 0

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        return token_dtype(self.tokenizer.vocab_size)

    def add(self, document: Encoded) -> None:
        ids = [self.tokenizer.bos_id, *document.ids, self.tokenizer.eos_id]
        if self._tokens and self._tokens + len(ids) > self.shard_tokens:
            self.close_shard()
        if not self._files:
            paths = [self.directory / kind.format(len(self.shards)) for kind in KINDS]
            self._files = [self.open_files.enter_context(path.open("wb")) for path in paths]
        tokens, documents, origins = self._files
        tokens.write(np.array(ids, dtype=self.dtype).tobytes())
        row = (self._start, len(ids), document.text_bytes, self._origin)
        documents.write(np.array(row, dtype=ROW).tobytes())
        line = json.dumps({"id": document.id, "origin": document.origin}, ensure_ascii=False).encode() + b"\n"
        origins.write(line)
        self._start += len(ids)
        self._tokens += len(ids)
        self._documents += 1
        self._origin += len(line)
        self.text_bytes += document.text_bytes

    def close_shard(self) -> None:
        if not self._files:
            return
        self.open_files.close()
        self.shards.append({"tokens": self._tokens, "documents": self._documents})
        self._files, self._tokens, self._documents, self._origin = [], 0, 0, 0
