"""Builds the index of a data build: one piece of work for each shard, in as many processes as are asked for."""

import os
from concurrent.futures import as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from puna.core.console import progress, say
from puna.core.errors import DataError
from puna.core.files import atomic_file, discard, sha256_file, sweep, write_json
from puna.core.layout import DataDir
from puna.core.lock import DirectoryLock
from puna.core.terminate import orderly_end
from puna.core.workers import worker_pool
from puna.search.format import FIRST, FIRSTS, FORMAT, KINDS, PART, SUFFIX, SUFFIXES, VERSION, read_part
from puna.search.suffixes import MOST_TOKENS, bytes_per_token, suffix_order
from puna.search.vocabulary import Vocabulary
from puna.shards.shards import TokenShards
from puna.shards.split import SPLITS
from puna.tokenizer.load import load_tokenizer
from puna.tokenizer.tokenizer import Tokenizer

_FEW = 2_000_000
"""Tokens that this process sorts by itself, because others take longer to start."""


@dataclass(frozen=True)
class Built:
    """What a build of the index did."""

    parts: int
    """Shards with an index now."""
    made: int
    """Those of which the index was made now; the others had theirs."""
    tokens: int
    bytes: int
    """On the disk, of all parts."""


class _Work(NamedTuple):
    directory: Path
    shards: Path
    number: int


def open_splits(data: DataDir) -> tuple[Tokenizer, dict[tuple[str, str], TokenShards]]:
    """The tokenizer of a build, and its shards by source and split, compared with their hashes.

    Raises:
        DataError: There are none, or they are damaged.
    """
    if not data.shards.is_dir():
        raise _no_shards(data)
    tokenizer = load_tokenizer(data.tokenizer)
    found = {}
    for source in sorted(path for path in data.shards.glob("*") if path.is_dir()):
        for split in SPLITS:
            if (source / split).is_dir():
                shards = TokenShards.open(source / split, tokenizer_sha256=tokenizer.sha256, verify=True)
                found[source.name, split] = shards
    if not found:
        raise _no_shards(data)
    return tokenizer, found


def _no_shards(data: DataDir) -> DataError:
    return DataError(f"{data}: holds no token shards", hint="build the data, or name the directory of a build")


def build_index(data: DataDir, *, workers: int | None = None) -> Built:
    """Make the index of all shards that have none, or one of other tokens.

    A killed build goes on with the shards that have none. To make the index of a shard takes `bytes_per_token` of
    memory in one process: 1.4 GB for the 100 million tokens of a shard of the usual size.

    Args:
        data: A finished build; of one in an object store its mirror, where tokens and index are then kept.
        workers: Processes; None for one per core, and no more than half of the free memory has room for.

    Raises:
        DataError: The build is damaged, a shard is too large, or the system killed a process.
        StorageError: The disk is full or not writable.
    """
    tokenizer, splits = open_splits(data)
    with DirectoryLock(data.index), orderly_end():
        todo, kept = _todo(data, splits)
        largest = max((splits[key].sizes[number] for key, number in todo), default=0)
        if largest > MOST_TOKENS:
            raise DataError(
                f"{data.shards}: a shard of {largest} tokens is too large for an index, which takes {MOST_TOKENS}",
                hint="build the data with a smaller data.shard_tokens",
            )
        for key, number in todo:  # the copies of what lies in an object store
            splits[key].map_tokens(number)
        work = [
            _Work(data.index / source / split, data.shards / source / split, number) for (source, split), number in todo
        ]
        sizes = [splits[key].sizes[number] for key, number in todo]
        _make(work, sizes, data.tokenizer, workers or _workers(largest, tokenizer.vocab_size))
    parts = [splits[key].sizes[number] for key, number in kept] + sizes
    content = sum(file.stat().st_size for file in data.index.glob("*/*/*.bin"))
    return Built(len(parts), len(work), sum(parts), content)


def _todo(
    data: DataDir, splits: dict[tuple[str, str], TokenShards]
) -> tuple[list[tuple[tuple[str, str], int]], list[tuple[tuple[str, str], int]]]:
    """The shards that need an index, and those that have theirs; what belongs to no shard is deleted."""
    todo, kept = [], []
    for directory in data.index.glob("*/*"):
        if (directory.parent.name, directory.name) not in splits:
            discard(directory)
    for key, shards in splits.items():
        directory = data.index / key[0] / key[1]
        sweep(directory)
        wanted = {kind.format(number) for number in range(len(shards.sizes)) for kind in (*KINDS, PART)}
        for path in directory.glob("*-*.*"):
            if path.name not in wanted:
                discard(path)
        for number in range(len(shards.sizes)):
            (kept if _is_whole(directory, number, shards) else todo).append((key, number))
    return todo, kept


def _is_whole(directory: Path, number: int, shards: TokenShards) -> bool:
    try:
        part = read_part(directory, number, shards)
    except DataError as error:
        say(f"{error.message}; it is made again")
        part = None
    if part is None:
        discard(directory / PART.format(number))
        return False
    for file in part["files"]:
        path = directory / file["name"]
        try:
            whole = path.stat().st_size == file["bytes"] and sha256_file(path) == file["sha256"]
        except OSError:
            whole = False
        if not whole:
            say(f"{path}: is missing or damaged; it is made again")
            discard(directory / PART.format(number))
            return False
    return True


def _workers(largest: int, vocabulary: int) -> int:
    """One process per core, as long as all together take no more than half of the memory that is free."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    return max(1, min(os.cpu_count() or 1, int(free / 2 // max(1, largest * bytes_per_token(vocabulary)))))


def _make(work: list[_Work], sizes: list[int], tokenizer: Path, workers: int) -> None:
    if not work:
        return
    with progress("index", sum(sizes), "tokens") as advance:
        if workers == 1 or len(work) == 1 or sum(sizes) < _FEW:
            vocabulary = Vocabulary(load_tokenizer(tokenizer))
            for one, size in zip(work, sizes, strict=True):
                _write(one, vocabulary)
                advance(size)
            return
        killed, hint = "the system killed a process that makes the index", "try fewer --workers: each needs memory"
        with worker_pool(min(workers, len(work)), _begin, tokenizer, killed=killed, hint=hint) as pool:
            # The largest first, so that no process works alone in the end.
            order = sorted(range(len(work)), key=lambda at: -sizes[at])
            futures = {pool.submit(_write_here, work[at]): sizes[at] for at in order}
            for future in as_completed(futures):
                future.result()
                advance(futures[future])


_vocabulary: Vocabulary | None = None
"""In a process that makes parts of the index: of the build."""


def _begin(tokenizer: Path) -> None:
    global _vocabulary
    _vocabulary = Vocabulary(load_tokenizer(tokenizer))


def _write_here(work: _Work) -> None:
    assert _vocabulary is not None  # noqa: S101 - set when the process began
    _write(work, _vocabulary)


def _write(work: _Work, vocabulary: Vocabulary) -> None:
    """Make the index of a shard: its files, and then its record."""
    shards = TokenShards.open(work.shards)
    tokens = np.asarray(shards.map_tokens(work.number))
    if len(tokens) and int(tokens.max()) >= len(vocabulary.rank_of):
        raise DataError(f"{work.shards}: has ids that its tokenizer does not have")
    suffixes, first_of = suffix_order(tokens, vocabulary.rank_of)
    files = []
    arrays = ((SUFFIXES, suffixes.astype(SUFFIX, copy=False)), (FIRSTS, first_of.astype(FIRST, copy=False)))
    for name, array in arrays:
        path = work.directory / name.format(work.number)
        # NumPy's own way of writing does not say why it fails.
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            file.write(array.view(np.uint8).data)
        files.append({"name": path.name, "bytes": path.stat().st_size, "sha256": sha256_file(path)})
    record = {
        "format": FORMAT, "version": VERSION, "tokens": len(tokens), "ranks": len(first_of) - 1,
        "tokens_sha256": shards.sha256_of(work.number),
        "tokenizer_sha256": shards.tokenizer_sha256, "files": files,
    }  # fmt: skip
    write_json(work.directory / PART.format(work.number), record)
