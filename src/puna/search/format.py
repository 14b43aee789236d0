"""The format of an index of token shards, version 1: for each shard the order of its suffixes.

```
index/<source>/<split>/
  suffixes-00000.bin   4 bytes per token of shard 0: where each suffix of the shard begins, little-endian, counted in
                       tokens, in the order of the suffixes by the bytes of their tokens
  firsts-00000.bin     8 bytes per rank of the vocabulary and 8 more: which suffixes begin with each rank
  part-00000.json      `format`, `version`, `tokens`, `ranks`; `tokens_sha256`, the hash of the shard's ids, and
                       `tokenizer_sha256`; `files` with `name`, `bytes` and `sha256`. Written last: its presence means
                       that the part is complete
  …-00001.…            the next shard
  verified.json        the files that were compared with their hashes, and their state then
```

The order is by ranks (`puna.search.vocabulary`), so it depends on the vocabulary's bytes and not on ids. It goes on
over the borders of documents, whose control tokens have no bytes: no text that is looked for has them. A part belongs
to its shard alone, so new shards need no new index of the others.
"""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np

from puna.core.errors import DataError
from puna.core.layout import DataDir
from puna.shards.shards import TokenShards

FORMAT, VERSION = "puna-text-index", 1
SUFFIXES, FIRSTS = KINDS = ("suffixes-{:05d}.bin", "firsts-{:05d}.bin")
PART = "part-{:05d}.json"
SUFFIX = np.dtype("<u4")
FIRST = np.dtype("<i8")


def rebuild(data: DataDir) -> str:
    """The hint of every error about an index: it can always be made again."""
    return f"`{shlex.join(['puna', 'data', 'index', str(data)])}` makes it again, and keeps what is whole"


def read_part(directory: Path, number: int, shards: TokenShards) -> dict[str, Any] | None:
    """The record of the index of a shard; None where there is none.

    Args:
        directory: Of the index of the split.
        number: Of the shard.
        shards: Those that the index must be of.

    Raises:
        DataError: It is damaged, or of another format, other shards or another tokenizer.
    """
    path = directory / PART.format(number)
    try:
        part = json.loads(path.read_bytes())
        of = [part[key] for key in ("format", "version", "tokens", "tokens_sha256", "tokenizer_sha256")]
        ranks = part["ranks"]
        files = {file["name"]: [file["bytes"], file["sha256"]] for file in part["files"]}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise DataError(f"{path}: is damaged") from None
    if of[:2] != [FORMAT, VERSION]:
        raise DataError(f"{path}: is {of[0]!r} version {of[1]!r}, this version of Puna reads {FORMAT!r} {VERSION}")
    if of[2:] != [shards.sizes[number], shards.sha256_of(number), shards.tokenizer_sha256]:
        raise DataError(f"{path}: is the index of other tokens than those in {shards.files.location}")
    names = [kind.format(number) for kind in KINDS]
    consistent = type(ranks) is int and files.keys() == set(names)
    sizes = [shards.sizes[number] * SUFFIX.itemsize, (ranks + 1) * FIRST.itemsize] if consistent else []
    if [files[name][0] for name in names if consistent] != sizes or not consistent:
        raise DataError(f"{path}: is damaged, its numbers do not agree with each other")
    return part
