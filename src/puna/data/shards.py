"""Read token shards: memory-mapped, at any position, across files. `shard_format` describes the files."""

import json
import mmap
from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from puna.core.errors import DataError
from puna.core.files import sha256_file, sha256_json
from puna.data.shard_format import DOCUMENTS, ORIGINS, REBUILD, ROW, TOKENS, read_manifest, token_dtype

_OPEN_MAPS = 64
"""Files of a split that are mapped at one time; each holds a file descriptor, and a process has 1024 by default."""


class TokenShards:
    """The tokens of one source and split, readable at any position without being held in memory; `open` opens them."""

    def __init__(self, directory: Path, manifest: dict[str, Any]) -> None:
        self.directory = directory
        self.source: str = manifest["source"]
        self.split: str = manifest["split"]
        self.tokens: int = manifest["tokens"]
        """Tokens in all documents, <s> and </s> included."""
        self.documents: int = manifest["documents"]
        self.text_bytes: int = manifest["text_bytes"]
        """Length of all texts in UTF-8."""
        self.bos_id: int = manifest["tokenizer"]["bos_id"]
        self._manifest = manifest
        self._dtype = token_dtype(manifest["tokenizer"]["vocab_size"])
        self._starts = [0, *accumulate(shard["tokens"] for shard in manifest["shards"])]
        self._map = lru_cache(maxsize=_OPEN_MAPS)(self._open_map)

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
                hint=f"{REBUILD}, or use the tokenizer that lies beside the shards",
            )
        for file in manifest["files"]:
            _check_file(directory / file["name"], file, verify)
        return cls(directory, manifest)

    @property
    def fingerprint(self) -> str:
        """A hash that changes with any token and with nothing else but the size of the shards."""
        hashes = {file["name"]: file["sha256"] for file in self._manifest["files"]}
        tokens = [hashes[TOKENS.format(number)] for number in range(len(self._starts) - 1)]
        return sha256_json([self._dtype.name, self._manifest["tokenizer"]["sha256"], tokens])

    def read(self, start: int, count: int) -> NDArray[np.integer[Any]]:
        """`count` token ids from position `start` on; a view of the file where they lie in one shard."""
        if not 0 <= start <= start + count <= self.tokens:
            raise IndexError(f"tokens {start} to {start + count} of {self.tokens}")
        if not count:
            return np.empty(0, dtype=self._dtype)
        shard = bisect_right(self._starts, start) - 1
        offset = start - self._starts[shard]
        part = self._map(TOKENS, shard)[offset : offset + count]
        if len(part) == count:
            return part
        return np.concatenate([part, self.read(start + len(part), count - len(part))])

    def document_at(self, position: int) -> tuple[dict[str, str], int, int]:
        """The id and origin of the document that holds a token, and the document's first token and token count."""
        if not 0 <= position < self.tokens:
            raise IndexError(f"token {position} of {self.tokens}")
        shard = bisect_right(self._starts, position) - 1
        rows = self._map(DOCUMENTS, shard)
        row = rows[bisect_right(range(len(rows)), position, key=lambda index: int(rows[index]["start"])) - 1]
        path = self.directory / ORIGINS.format(shard)
        try:
            with path.open("rb") as file:
                file.seek(int(row["origin"]))
                return json.loads(file.readline()), int(row["start"]), int(row["tokens"])
        except (OSError, ValueError):
            raise DataError(f"{path}: cannot be read at byte {row['origin']}", hint=REBUILD) from None

    def _open_map(self, kind: str, number: int) -> NDArray[Any]:
        path = self.directory / kind.format(number)
        dtype = {TOKENS: self._dtype, DOCUMENTS: ROW}[kind]
        try:
            with path.open("rb") as file:
                return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), dtype=dtype)
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be mapped into memory ({error})", hint=REBUILD) from None


def _check_file(path: Path, expected: dict[str, Any], verify: bool) -> None:
    size = path.stat().st_size if path.is_file() else None
    if size is None:
        raise DataError(f"{path}: is missing", hint=REBUILD)
    if size != expected["bytes"]:
        raise DataError(f"{path}: has {size} bytes instead of {expected['bytes']}", hint=REBUILD)
    if verify and sha256_file(path) != expected["sha256"]:
        raise DataError(f"{path}: is damaged, its SHA-256 is not the one written with it", hint=REBUILD)
