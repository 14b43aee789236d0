"""Writes token shards: documents in, one complete directory out; or in parts, if several tasks share the work."""

import json
import os
import shutil
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from puna.core.files import atomic_directory, sweep, sync, temporary_sibling, write_json
from puna.shards.format import FORMAT, KINDS, MANIFEST, ROW, VERSION, token_dtype
from puna.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Encoded:
    """A document ready to be written."""

    id: str
    origin: str
    ids: list[int] | NDArray[np.uint32]
    """Token ids, without <s> and </s>."""
    text_bytes: int
    facts: dict[str, str] = field(default_factory=dict)
    """What else is known of it: `url`, `licence`, `date`."""


@dataclass(frozen=True)
class Part:
    """Shards of some documents of a split, in a directory of their own."""

    directory: Path
    shards: list[dict[str, int]]
    """Tokens and documents of each shard."""
    text_bytes: int
    hashes: dict[str, str]
    """SHA-256 of its files by name."""


def join_parts(
    out: Path, parts: list[Part], tokenizer: Tokenizer, *, source: str, split: str, shard_tokens: int,
    documents_sha256: str,
) -> None:  # fmt: skip
    """Make one directory of shards from the parts that tasks have written; it appears when it is complete.

    The files are not copied but get second names, if the file system allows it.

    Raises:
        StorageError: The disk is full or not writable.
    """
    with atomic_directory(out, replace=True) as directory:
        number = 0
        for part in parts:
            for of_part in range(len(part.shards)):
                for kind in KINDS:
                    link(part.directory / kind.format(of_part), directory / kind.format(number))
                number += 1
        _write_manifest(directory, parts, tokenizer, source, split, shard_tokens, documents_sha256)


def link(old: Path, new: Path) -> None:
    """Give a file a second name, or copy it if that is not possible."""
    try:
        os.link(old, new)
    except OSError:
        shutil.copyfile(old, new)


def _write_manifest(
    directory: Path, parts: list[Part], tokenizer: Tokenizer, source: str, split: str, shard_tokens: int,
    documents_sha256: str,
) -> None:  # fmt: skip
    shards = [shard for part in parts for shard in part.shards]
    hashes = [
        part.hashes[kind.format(number)] for part in parts for number in range(len(part.shards)) for kind in KINDS
    ]
    names = [kind.format(number) for number in range(len(shards)) for kind in KINDS]
    files = [
        {"name": name, "bytes": (directory / name).stat().st_size, "sha256": digest}
        for name, digest in sorted(zip(names, hashes, strict=True))
    ]
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "source": source,
        "split": split,
        "dtype": token_dtype(tokenizer.vocab_size).name,
        "tokens": sum(shard["tokens"] for shard in shards),
        "documents": sum(shard["documents"] for shard in shards),
        "text_bytes": sum(part.text_bytes for part in parts),
        "tokenizer": {
            "sha256": tokenizer.sha256,
            "vocab_size": tokenizer.vocab_size,
            "bos_id": tokenizer.bos_id,
            "eos_id": tokenizer.eos_id,
        },
        "documents_sha256": documents_sha256,
        "shard_tokens": shard_tokens,
        "shards": shards,
        "files": files,
    }
    write_json(directory / MANIFEST, manifest)


@dataclass
class ShardWriter:
    """Appends documents to the open shard, and begins the next one when it is full; a shard's files appear together."""

    directory: Path
    tokenizer: Tokenizer
    shard_tokens: int
    shards: list[dict[str, int]] = field(default_factory=list)
    """Tokens and documents of each finished shard."""
    text_bytes: int = 0
    _stack: ExitStack = field(default_factory=ExitStack)
    _files: list[BinaryIO] = field(default_factory=list)
    _temporaries: list[Path] = field(default_factory=list)
    _tokens: int = 0
    """Tokens in the open shard."""
    _documents: int = 0
    _origin: int = 0

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the ids in the files."""
        return token_dtype(self.tokenizer.vocab_size)

    def __enter__(self) -> Self:
        sweep(self.directory)
        return self

    def add(self, document: Encoded) -> None:
        """Append a document to the open shard."""
        # Where one token begins and ends texts, the next document's ends this one.
        end = self.tokenizer.eos_id != self.tokenizer.bos_id
        ids = np.empty(1 + len(document.ids) + end, dtype=self.dtype)
        ids[0], ids[1 : 1 + len(document.ids)] = self.tokenizer.bos_id, document.ids
        if end:
            ids[-1] = self.tokenizer.eos_id
        if self._tokens and self._tokens + len(ids) > self.shard_tokens:
            self._close_shard()
        if not self._files:
            self._temporaries = [temporary_sibling(path) for path in self._paths()]
            self._files = [self._stack.enter_context(path.open("wb")) for path in self._temporaries]
        tokens, documents, origins = self._files
        tokens.write(ids.tobytes())
        row = (self._tokens, len(ids), document.text_bytes, self._origin)
        documents.write(np.array(row, dtype=ROW).tobytes())
        facts = {"id": document.id, "origin": document.origin, **document.facts}
        line = json.dumps(facts, ensure_ascii=False).encode() + b"\n"
        origins.write(line)
        self._tokens += len(ids)
        self._documents += 1
        self._origin += len(line)
        self.text_bytes += document.text_bytes

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._close_shard()
            self._stack.close()
        finally:
            for path in self._temporaries:
                path.unlink(missing_ok=True)

    def _close_shard(self) -> None:
        if not self._files:
            return
        self._stack.close()
        for temporary, path in zip(self._temporaries, self._paths(), strict=True):
            sync(temporary)
            os.replace(temporary, path)
        self.shards.append({"tokens": self._tokens, "documents": self._documents})
        self._files, self._temporaries, self._tokens, self._documents, self._origin = [], [], 0, 0, 0

    def _paths(self) -> list[Path]:
        return [self.directory / kind.format(len(self.shards)) for kind in KINDS]
