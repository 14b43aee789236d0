"""Token ids of a task's documents, kept on disk: a second evaluation with the same tokenizer encodes nothing.

A document's ids are found by the hash of its texts, so what is kept cannot be out of date: a task that asks anything
else finds nothing. The file's name says what else decides ids: the tokenizer, the join and its version, the model's
context. A file that is damaged or of another kind is passed over, and written again.

A file is a line of JSON and six arrays: hashes of documents; how many `Joined` each has; of each of those its pairs,
its cut and whether it moved; of each pair the number of its context and the length of its continuation; the lengths of
contexts; ids of contexts, which are there once for all their continuations, and then of continuations.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from puna.core.console import warn
from puna.core.errors import StorageError
from puna.core.files import atomic_file, sha256_bytes, sha256_json
from puna.evaluate.backend import Backend
from puna.evaluate.joining import VERSION, Ids, Joined
from puna.evaluate.task import Join

MOST_BYTES = 1 << 30
"""Of all files together; the longest unused go first."""
_KIND = "puna token ids 1"
_DIGEST = 16


class TokenCache:
    """The token ids of a task that are known.

    Args:
        path: The file; it need not be there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[bytes, tuple[Joined, ...]] = {}
        self._changed = False
        try:
            content = path.read_bytes()
        except OSError:
            return
        try:
            self._known = dict(_unpacked(content))
        except (ValueError, IndexError, KeyError, TypeError, RecursionError, OverflowError):
            self._known = {}
        else:
            _touch(path)

    def __len__(self) -> int:
        return len(self._known)

    def get(self, digest: bytes) -> tuple[Joined, ...] | None:
        """The ids of a document, by the hash of its texts; None where they are not known."""
        return self._known.get(digest)

    def add(self, digest: bytes, joined: tuple[Joined, ...]) -> None:
        """Remember a document's ids."""
        self._known[digest] = joined
        self._changed = True

    def save(self) -> None:
        """Write the file where anything was added; a disk that refuses it costs time alone, which is said."""
        if not self._changed:
            return
        try:
            with atomic_file(self.path) as temporary:
                temporary.write_bytes(_packed(self._known))
        except StorageError as error:
            warn(f"token ids are not kept: {error.message}")
            return
        self._changed = False
        _sweep(self.path)


def token_cache(task: str, how: Join, backend: Backend, *, share: str, root: Path) -> TokenCache:
    """The cache of a task's token ids for a model's tokenizer and context.

    Args:
        task: The task's id.
        how: The protocol's join.
        backend: Its tokenizer and context decide the ids.
        share: Which of several processes this is, each of which keeps its own.
        root: The directory.
    """
    key = [_KIND, VERSION, task, how, backend.tokenizer.sha256, backend.tokenizer.add_bos, backend.longest, share]
    return TokenCache(root / f"{sha256_json(key)[:32]}.ids")


def digest_of(texts: Iterable[str]) -> bytes:
    """The hash of a document's texts in order, which tells where each of them ends."""
    found = hashlib.blake2b(digest_size=_DIGEST)
    for text in texts:
        content = text.encode("utf-8", errors="surrogatepass")
        found.update(len(content).to_bytes(8, "little"))
        found.update(content)
    return found.digest()


def _packed(known: Mapping[bytes, tuple[Joined, ...]]) -> bytes:
    """The content of a file."""
    contexts: dict[Ids, int] = {}
    counts, flags, pairs, ids = [], [], [], []
    for joined in known.values():
        counts.append(len(joined))
        for one in joined:
            flags += [len(one.pairs), one.cut, int(one.moved)]
            for context, continuation in one.pairs:
                pairs += [contexts.setdefault(context, len(contexts)), len(continuation)]
                ids += continuation
    all_ids = [token for context in contexts for token in context] + ids
    arrays = [
        np.frombuffer(b"".join(known), np.uint8),
        *(np.array(x, np.int32) for x in (counts, flags, pairs, [len(context) for context in contexts], all_ids)),
    ]
    body = b"".join(array.tobytes() for array in arrays)
    sizes = [array.nbytes for array in arrays]
    return json.dumps({"kind": _KIND, "sizes": sizes, "sha256": sha256_bytes(body)}).encode() + b"\n" + body


def _unpacked(content: bytes) -> Iterator[tuple[bytes, tuple[Joined, ...]]]:
    """The documents of a file.

    Raises:
        ValueError: It is damaged or of another kind; or another of Python's errors for what is not there.
    """
    line, _, body = content.partition(b"\n")
    header: Any = json.loads(line)
    if header["kind"] != _KIND or sha256_bytes(body) != header["sha256"] or sum(header["sizes"]) != len(body):
        raise ValueError("not such a file, or a damaged one")
    ends = np.cumsum([0, *header["sizes"]]).tolist()
    digests, *rest = (body[begin:end] for begin, end in pairwise(ends))
    counts, flags, pairs, lengths, ids = (np.frombuffer(part, "<i4").tolist() for part in rest)
    contexts, at = [], 0
    for length in lengths:
        contexts.append(tuple(ids[at : at + length]))
        at += length
    flag = iter(zip(flags[::3], flags[1::3], flags[2::3], strict=True))
    pair = iter(zip(pairs[::2], pairs[1::2], strict=True))
    for place, count in enumerate(counts):
        joined = []
        for _ in range(count):
            n_pairs, cut, moved = next(flag)
            found = []
            for _ in range(n_pairs):
                context, length = next(pair)
                found.append((contexts[context], tuple(ids[at : at + length])))
                at += length
            joined.append(Joined(pairs=tuple(found), cut=cut, moved=bool(moved)))
        yield digests[place * _DIGEST : (place + 1) * _DIGEST], tuple(joined)


def _touch(path: Path) -> None:
    """Let the file count as used now."""
    try:
        path.touch()
    except OSError:  # in a cache that can only be read its time does not matter
        return


def _sweep(kept: Path) -> None:
    """Remove the longest unused files beyond `MOST_BYTES`, never the one that was just written."""
    files = []
    for path in kept.parent.glob("*.ids"):
        try:
            status = path.stat()
        except OSError:  # another process removed it
            continue
        files.append((path == kept, status.st_mtime, status.st_size, path))
    size = 0
    for _, _, each, path in sorted(files, reverse=True):
        size += each
        if size > MOST_BYTES and path != kept:
            path.unlink(missing_ok=True)
