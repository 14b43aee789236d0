"""Token shards: the token ids of the documents of one source and split, memory-mapped.

```
shards/<source>/<split>/
  manifest.json             what is below; its presence says that the directory is complete
  tokens-00000.bin          token ids, little-endian, 2 bytes each up to a vocabulary of 65,536, otherwise 4
  documents-00000.bin       32 bytes per document: four little-endian 64-bit unsigned integers
                              start   index of its first token in the split
                              tokens  how many tokens it has, <s> and </s> included
                              bytes   length of its text in UTF-8
                              origin  offset of its line in origins-00000.jsonl
  origins-00000.jsonl       {"id", "origin"} per document
  …-00001.…                 the next shard
```

A document is `<s>`, its tokens, `</s>` (OpenLLaMA and EasyLM write both), and never straddles two shards. Sources are
never mixed on the disk: the loader mixes, so a new mixture needs no new build.

manifest.json: `format`, `version`, `source`, `split`, `dtype`, `tokens`, `documents`, `text_bytes`; `tokenizer`
(`sha256`, `vocab_size`, `bos_id`, `eos_id`); `documents_sha256`, the hash of the documents that it was made from;
`files`, each with `name`, `bytes` and `sha256`; `shards`, each with its `tokens` and `documents`.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from puna.core.errors import DataError
from puna.core.files import atomic_directory, sha256_file, sha256_json, write_json
from puna.tokenizer.tokenizer import Tokenizer

FORMAT, VERSION = "puna-token-shards", 1
MANIFEST = "manifest.json"
DOCUMENT = np.dtype([("start", "<u8"), ("tokens", "<u8"), ("bytes", "<u8"), ("origin", "<u8")])
_KINDS = ("tokens-{:05d}.bin", "documents-{:05d}.bin", "origins-{:05d}.jsonl")


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """The narrowest of the two widths that holds every id."""
    return np.dtype("<u2") if vocab_size <= 1 << 16 else np.dtype("<u4")


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
            self._files = [(self.directory / kind.format(len(self.shards))).open("wb") for kind in _KINDS]
        tokens, documents, origins = self._files
        tokens.write(np.array(ids, dtype=self.dtype).tobytes())
        row = (self._start, len(ids), document.text_bytes, self._origin)
        documents.write(np.array(row, dtype=DOCUMENT).tobytes())
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
        for file in self._files:
            file.close()
        self.shards.append({"tokens": self._tokens, "documents": self._documents})
        self._files, self._tokens, self._documents, self._origin = [], 0, 0, 0


class TokenShards:
    """The tokens of one source and split, readable at any position without being held in memory.

    Use `open`. Attributes: `tokens`, `documents` and `text_bytes` count what is in it; `source`, `split`, `bos_id`.
    """

    def __init__(self, directory: Path, manifest: dict[str, Any]) -> None:
        self.directory = directory
        self.source: str = manifest["source"]
        self.split: str = manifest["split"]
        self.tokens: int = manifest["tokens"]
        self.documents: int = manifest["documents"]
        self.text_bytes: int = manifest["text_bytes"]
        self.bos_id: int = manifest["tokenizer"]["bos_id"]
        self._manifest = manifest
        counts = [shard["tokens"] for shard in manifest["shards"]]
        self._starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        dtype = np.dtype(manifest["dtype"]).newbyteorder("<")
        self._ids = [self._map(0, number, dtype) for number in range(len(counts))]
        self._rows = [self._map(1, number, DOCUMENT) for number in range(len(counts))]

    @classmethod
    def open(cls, directory: Path, *, tokenizer_sha256: str | None = None, verify: bool = False) -> Self:
        """The shards in a directory.

        Args:
            directory: `shards/<source>/<split>`.
            tokenizer_sha256: The tokenizer that the ids must be of; None for any.
            verify: Whether every file is read and compared with its hash; its size is compared in any case.

        Raises:
            DataError: A file is missing, damaged or of another format, version or tokenizer.
        """
        manifest = read_manifest(directory)
        written = manifest["tokenizer"]["sha256"]
        if tokenizer_sha256 is not None and written != tokenizer_sha256:
            raise DataError(
                f"{directory}: was written with the tokenizer {written[:12]}, not with {tokenizer_sha256[:12]}",
                hint="build the data again, or use the tokenizer that lies beside the shards",
            )
        for file in manifest["files"]:
            path = directory / file["name"]
            size = path.stat().st_size if path.is_file() else None
            if size is None:
                raise DataError(f"{path}: is missing", hint="build the data again")
            if size != file["bytes"]:
                raise DataError(f"{path}: has {size} bytes instead of {file['bytes']}", hint="build the data again")
            if verify and sha256_file(path) != file["sha256"]:
                raise DataError(
                    f"{path}: is damaged, its SHA-256 is not the one written with it", hint="build the data again"
                )
        return cls(directory, manifest)

    @property
    def fingerprint(self) -> str:
        """A hash that changes with any token and with nothing else."""
        hashes = [file["sha256"] for file in self._manifest["files"] if file["name"].startswith("tokens-")]
        return sha256_json([self._manifest["dtype"], self._manifest["tokenizer"]["sha256"], hashes])

    def read(self, start: int, count: int) -> NDArray[np.integer[Any]]:
        """`count` token ids from position `start` on; a view of the file where they lie in one shard."""
        if not 0 <= start <= start + count <= self.tokens:
            raise IndexError(f"tokens {start} to {start + count} of {self.tokens}")
        shard = int(np.searchsorted(self._starts, start, side="right")) - 1
        offset = start - int(self._starts[shard])
        if shard < len(self._ids) and offset + count <= len(self._ids[shard]):
            return self._ids[shard][offset : offset + count]
        parts = []
        while count:
            part = self._ids[shard][offset : offset + count]
            parts.append(part)
            count -= len(part)
            shard, offset = shard + 1, 0
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.uint16)

    def document_at(self, position: int) -> tuple[dict[str, str], int, int]:
        """The id and origin of the document that holds a token, and the document's first token and token count."""
        shard = int(np.searchsorted(self._starts, position, side="right")) - 1
        rows = self._rows[shard]
        row = rows[int(np.searchsorted(rows["start"], position, side="right")) - 1]
        with (self.directory / _KINDS[2].format(shard)).open("rb") as file:
            file.seek(int(row["origin"]))
            return json.loads(file.readline()), int(row["start"]), int(row["tokens"])

    def _map(self, kind: int, number: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        return np.memmap(self.directory / _KINDS[kind].format(number), dtype=dtype, mode="r")


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of a shard directory.

    Raises:
        DataError: It is missing, damaged, or of another format or version.
    """
    path = directory / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        form, version = manifest["format"], manifest["version"]
    except OSError:
        raise DataError(f"{directory}: holds no token shards (there is no {MANIFEST})", hint="build the data") from None
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{path}: is damaged", hint="build the data again") from None
    if (form, version) != (FORMAT, VERSION):
        raise DataError(f"{path}: is {form!r} version {version}, this version of Puna reads {FORMAT!r} {VERSION}")
    return manifest
