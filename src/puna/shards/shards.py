"""Reads token shards at any position, across files. `puna.shards.format` describes the files."""

import json
import mmap
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from puna.core.errors import DataError
from puna.core.files import sha256_json
from puna.shards.files import Piece, ShardFiles
from puna.shards.format import DOCUMENTS, ORIGINS, ROW, TOKENS, read_manifest, rebuild, token_dtype
from puna.shards.remote import open_files
from puna.shards.verified import check_files, verify_files

_INDEXES = 16
"""How many shards' indexes of documents are mapped at one time."""


class TokenShards:
    """The tokens of one source and split, readable at any position without being held in memory; `open` opens them."""

    def __init__(self, directory: Path, manifest: dict[str, Any], files: ShardFiles) -> None:
        self.directory = directory
        self.files = files
        self.source: str = manifest["source"]
        self.split: str = manifest["split"]
        self.tokens: int = manifest["tokens"]
        """Tokens in all documents, including those at their ends."""
        self.documents: int = manifest["documents"]
        self.text_bytes: int = manifest["text_bytes"]
        """Length of all texts in UTF-8."""
        self.bos_id: int = manifest["tokenizer"]["bos_id"]
        self.eos_id: int = manifest["tokenizer"]["eos_id"]
        """The token that ends a document; if it equals `bos_id`, each document's first token ends the one before it."""
        self.tokenizer_sha256: str = manifest["tokenizer"]["sha256"]
        self.dtype = token_dtype(manifest["tokenizer"]["vocab_size"])
        """The dtype of the ids in the files."""
        self._files = {file["name"]: file for file in manifest["files"]}
        self._starts = [0, *accumulate(shard["tokens"] for shard in manifest["shards"])]
        self._paths = [files.path(TOKENS.format(number)) for number in range(len(manifest["shards"]))]
        self._rows = lru_cache(maxsize=_INDEXES)(self._map_rows)

    @classmethod
    def open(cls, directory: Path, *, tokenizer_sha256: str | None = None, verify: bool = False) -> Self:
        """The shards in a directory.

        Args:
            directory: `shards/<source>/<split>`.
            tokenizer_sha256: Hash of the tokenizer that the ids must come from; None for any.
            verify: Whether to compare every file with its hash, unless this was done before and it has not changed
                since; its size is always compared.

        Raises:
            DataError: A file is missing, damaged, does not belong there, or is of another format, version or tokenizer.
        """
        manifest = read_manifest(directory)
        written = manifest["tokenizer"]["sha256"]
        if tokenizer_sha256 is not None and written != tokenizer_sha256:
            raise DataError(
                f"{directory}: was written with the tokenizer {written[:12]}, not with {tokenizer_sha256[:12]}",
                hint=f"use the tokenizer that lies beside the shards, or {rebuild(directory)}",
            )
        files = open_files(directory)
        check_files(files, manifest["files"])
        if verify:
            verify_files(directory, files, manifest["files"], f"check {manifest['source']} {manifest['split']}")
        return cls(directory, manifest, files)

    @property
    def fingerprint(self) -> str:
        """A hash that changes only with the tokens and the size of the shards."""
        tokens = [self._files[TOKENS.format(number)]["sha256"] for number in range(len(self._paths))]
        return sha256_json([self.dtype.name, self.tokenizer_sha256, tokens])

    @property
    def sizes(self) -> list[int]:
        """Tokens of each shard."""
        return [end - start for start, end in pairwise(self._starts)]

    def start_of(self, number: int) -> int:
        """The position of a shard's first token."""
        return self._starts[number]

    def sha256_of(self, number: int) -> str:
        """The hash of a shard's file of tokens."""
        return self._files[TOKENS.format(number)]["sha256"]

    def map_tokens(self, number: int) -> NDArray[np.integer[Any]]:
        """The ids of a shard, mapped into memory and read-only; those of an object store are copied here first.

        Raises:
            DataError: The file cannot be read, or what an object store has is damaged.
        """
        name = TOKENS.format(number)
        return self._map(self.files.local(name, self._files[name]["sha256"]), self.dtype)

    def read(self, start: int, count: int) -> NDArray[np.integer[Any]]:
        """`count` token ids from position `start` on.

        Raises:
            DataError: A file cannot be read any more.
        """
        if not 0 <= start <= start + count <= self.tokens:
            raise IndexError(f"tokens {start} to {start + count} of {self.tokens}")
        tokens = np.empty(count, dtype=self.dtype)
        self.files.reader(list(self.pieces(start, tokens.view(np.uint8))))
        return tokens

    def pieces(self, start: int, into: NDArray[np.uint8]) -> Iterator[Piece]:
        """The pieces to read so that `into` holds the ids from position `start` on."""
        width = self.dtype.itemsize
        shard, end, filled = bisect_right(self._starts, start) - 1, start + len(into) // width, 0
        while start < end:
            stop = min(end, self._starts[shard + 1])
            size = (stop - start) * width
            yield Piece(self._paths[shard], (start - self._starts[shard]) * width, into[filled : filled + size].data)
            start, shard, filled = stop, shard + 1, filled + size

    def document_at(self, position: int) -> tuple[dict[str, str], int, int]:
        """The id and origin of the document that holds a token, and the document's first token and token count."""
        if not 0 <= position < self.tokens:
            raise IndexError(f"token {position} of {self.tokens}")
        shard = bisect_right(self._starts, position) - 1
        rows = self._rows(shard)
        base = self._starts[shard]
        number = bisect_right(range(len(rows)), position - base, key=lambda index: int(rows[index]["start"])) - 1
        row, name = rows[number], ORIGINS.format(shard)
        first = int(row["origin"])
        size = self._files[name]["bytes"]
        end = int(rows[number + 1]["origin"]) if number + 1 < len(rows) else size
        try:
            if not 0 <= first < end <= size:
                raise ValueError
            line = bytearray(end - first)
            self.files.reader([Piece(self.files.path(name), first, memoryview(line))])
            return json.loads(line), base + int(row["start"]), int(row["tokens"])
        except ValueError:
            path = f"{self.files.location}/{name}"
            raise DataError(f"{path}: the line from byte {first} on is damaged", hint=rebuild(path)) from None

    def _map_rows(self, number: int) -> NDArray[Any]:
        name = DOCUMENTS.format(number)
        return self._map(self.files.local(name, self._files[name]["sha256"]), ROW)

    def _map(self, path: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
        try:
            with path.open("rb") as file:
                return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), dtype=dtype)
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be mapped into memory ({error})", hint=rebuild(path)) from None
