"""Looks for texts in the index of a data build: exact counts, and the documents that have them."""

import os
import shlex
import unicodedata
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from puna.core.errors import DataError
from puna.core.layout import DataDir
from puna.search.build import open_splits
from puna.search.format import FIRST, KINDS, SUFFIX, read_part, rebuild
from puna.search.kernel import find_longest, find_ranges
from puna.search.lattice import Lattice, lattice_of, lattice_of_ids
from puna.search.pattern import Pattern
from puna.search.places import Places, places_of, word_tails
from puna.search.vocabulary import Tails, Vocabulary
from puna.shards.files import LocalFiles
from puna.shards.shards import TokenShards
from puna.shards.verified import check_files, verify_files
from puna.tokenizer.tokenizer import Tokenizer

_Work = TypeVar("_Work")
_Result = TypeVar("_Result")

LONGEST = 100_000
"""Characters of a text that is looked for: what people quote is shorter."""


@dataclass(frozen=True)
class Part:
    """The index of one shard."""

    source: str
    split: str
    shards: TokenShards
    first: int
    """Position of the shard's first token in its split."""
    suffixes: NDArray[np.uint32]
    tokens: NDArray[np.integer[Any]]
    first_of: NDArray[np.int64]


@dataclass(frozen=True)
class Occurrences:
    """Where a text is in one shard."""

    part: Part
    count: int
    ranges: NDArray[np.int64]
    """(R, 3), as `puna.search.kernel.find_ranges` gives them."""
    begins: NDArray[np.int64]
    """At which byte of its first token the text begins, by the first column of the ranges."""
    spaced: int
    """As in `Lattice`: these may be a space that no document has."""

    def first(self, most: int) -> list[tuple[int, int]]:
        """The first occurrences in the order of the shard: each one's token, and the byte of it; at most `most`."""
        found: list[tuple[int, int]] = []
        for start, first, end in self.ranges if most > 0 else ():
            positions = np.asarray(self.part.suffixes[first:end]).astype(np.int64)
            if start < self.spaced:
                before = self.part.tokens[np.maximum(positions - 1, 0)]
                positions = positions[(positions == 0) | (before != self.part.shards.bos_id)]
            if len(positions) > most:
                positions = np.partition(positions, most)[:most]
            found += [(int(position), int(self.begins[start])) for position in positions]
        return sorted(found)[:most]


class TextIndex:
    """The index of a data build, all sources and splits.

    Args:
        tokenizer: Of the build.
        parts: In the order of sources, splits and shards.
    """

    def __init__(self, tokenizer: Tokenizer, parts: list[Part]) -> None:
        self.tokenizer = tokenizer
        self.parts = parts
        self.vocabulary = Vocabulary(tokenizer)
        self._tail_counts: dict[int, NDArray[np.int64]] = {}
        self._threads = ThreadPoolExecutor(max(1, min(len(parts), os.cpu_count() or 1)))

    @classmethod
    def open(cls, data: DataDir) -> "TextIndex":
        """The index of a build, each file compared with its hash unless this was done before.

        Raises:
            DataError: There is no index, it does not have all shards, is of other ones, or is damaged.
        """
        tokenizer, splits = open_splits(data)
        parts = []
        for (source, split), shards in splits.items():
            parts += _open_split(data, source, split, shards)
        index = cls(tokenizer, parts)
        for part in parts:
            if not _is_of(part, index.vocabulary):
                raise DataError(f"{data}: the index of {part.source} {part.split} is damaged", hint=rebuild(data))
        return index

    @property
    def tokens(self) -> int:
        """Tokens of all documents, with those at their ends."""
        return sum(len(part.tokens) for part in self.parts)

    @cached_property
    def token_counts(self) -> NDArray[np.int64]:
        """How often each rank occurs in all training shards, (R,)."""
        counts = [np.diff(part.first_of) for part in self.parts if part.split == "train"]
        return np.sum(counts, axis=0) if counts else np.zeros(len(self.vocabulary.tokens), np.int64)

    def find(self, text: str, *, fold: bool = False) -> list[Occurrences]:
        """Where a text is, in each part, however it is cut into tokens there.

        An occurrence is a place of a document's text at which the text is found; occurrences may overlap. None crosses
        the border of a document.

        Args:
            text: What is looked for.
            fold: Whether upper and lower case are the same, by Unicode's full case folding.

        Raises:
            DataError: The text is empty, longer than `LONGEST` characters, or not Unicode.
        """
        pattern = Pattern(self.kept(text), fold=fold)
        if len(pattern.text) > LONGEST:
            raise DataError(f"the text has {len(text)} characters, {LONGEST} are looked for at most")
        return self._find(lattice_of(pattern, self.vocabulary))

    def kept(self, text: str) -> str:
        """A text as documents have it in these tokens, where the tokenizer changes or loses characters of a text."""
        if text.isascii() and not self.tokenizer.missing_bytes:
            return text
        if getattr(self.tokenizer, "normalizes", False):
            text = unicodedata.normalize("NFC", text)
        return self.tokenizer.kept(text) if self.tokenizer.missing_bytes else text

    def find_ids(self, ids: list[int]) -> list[Occurrences]:
        """Where a sequence of tokens is, in each part.

        Raises:
            DataError: There are no tokens, or one is not of a text.
        """
        if not ids:
            raise DataError("there are no tokens to look for")
        for token in ids:
            if not 0 <= token < self.tokenizer.vocab_size:
                raise DataError(f"token {token} is not in the vocabulary of {self.tokenizer.vocab_size}")
            if not self.tokenizer.bytes_of(token):
                raise DataError(f"token {token} has no text, so it is in no document's text")
        twins = np.bincount(self.vocabulary.rank_of)[self.vocabulary.rank_of[ids]]
        found = self._find(lattice_of_ids(ids, self.vocabulary))
        return [_of_ids(one, ids) for one in found] if twins.max() > 1 else found

    def longest(self, text: str) -> list[tuple[int, int]]:
        """The spans of a text that training shards have and that are not part of longer such spans.

        A span begins where a word of the text does, and ends where one ends. In the document it begins where a token
        does, or a word within one.

        Args:
            text: Unicode text.

        Returns:
            First byte and the one after the last of each span, in the order of the text.
        """
        places = places_of(text, self.vocabulary, self._word_tails)
        parts = [part for part in self.parts if part.split == "train"]
        counts = [self._counts_of_tails(number, part) for number, part in enumerate(parts)]
        reached = self._in_all(
            zip(parts, counts, strict=True), lambda one: _longest(one[0], one[1], places, self.vocabulary)
        )
        ends = np.max(reached, axis=0) if reached else np.full(len(places.places), -1)
        spans, last = [], -1
        for place, end in zip(places.places.tolist(), ends.tolist(), strict=True):
            if end > last:
                spans.append((place, end))
                last = end
        return spans

    @cached_property
    def _word_tails(self) -> Tails:
        return word_tails(self.vocabulary)

    def _counts_of_tails(self, number: int, part: Part) -> NDArray[np.int64]:
        """How many suffixes of a training part begin with a token that has one of the first tails."""
        if number not in self._tail_counts:
            counts = np.diff(part.first_of)[np.array(self._word_tails.ranks, np.int64)]
            self._tail_counts[number] = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return self._tail_counts[number]

    def _find(self, lattice: Lattice) -> list[Occurrences]:
        return self._in_all(self.parts, lambda part: _occurrences(part, lattice, self.vocabulary, self.tokenizer))

    def _in_all(self, parts: Iterable[_Work], work: Callable[[_Work], _Result]) -> list[_Result]:
        return list(self._threads.map(work, parts))


def _is_of(part: Part, vocabulary: Vocabulary) -> bool:
    """Whether a part's table is one of a vocabulary, so that no search leaves the part."""
    table = part.first_of
    return len(table) == len(vocabulary.tokens) + 1 and bool(
        table[0] == 0 and table[-1] == len(part.tokens) == len(part.suffixes) and (np.diff(table) >= 0).all()
    )


def _occurrences(part: Part, lattice: Lattice, vocabulary: Vocabulary, tokenizer: Tokenizer) -> Occurrences:
    ranges = _ranges(part, lattice, vocabulary, len(lattice.starts), -1)
    count = _size(ranges)
    spaced = lattice.spaced if tokenizer.space_prefix else 0
    if spaced:
        # The tokenizer puts a space before a document, which is not part of its text.
        bos = int(vocabulary.rank_of[tokenizer.bos_id])
        count -= _size(_ranges(part, lattice, vocabulary, spaced, bos))
    return Occurrences(part, count, ranges, lattice.begins, spaced)


def _of_ids(one: Occurrences, ids: list[int]) -> Occurrences:
    """Those occurrences that are these tokens, not others of the same bytes."""
    rows: list[tuple[int, int, int]] = []
    for start, first, end in one.ranges:
        positions = np.asarray(one.part.suffixes[first:end]).astype(np.int64)
        same = np.ones(len(positions), np.bool_)
        for depth, token in enumerate(ids):
            same &= one.part.tokens[positions + depth] == token
        edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
        rows += [(start, first + int(at), first + int(to)) for at, to in edges.reshape(-1, 2)]
    count = sum(end - first for _, first, end in rows)
    return Occurrences(one.part, count, np.array(rows, np.int64).reshape(-1, 3), one.begins, one.spaced)


def _ranges(part: Part, lattice: Lattice, vocabulary: Vocabulary, starts: int, behind: int) -> NDArray[np.int64]:
    return find_ranges(
        part.suffixes, part.tokens, vocabulary.rank_of, part.first_of, lattice.starts[:starts], lattice.edges_of,
        lattice.edges, behind,
    )  # fmt: skip


def _size(ranges: NDArray[np.int64]) -> int:
    return int((ranges[:, 2] - ranges[:, 1]).sum())


def _longest(part: Part, counts: NDArray[np.int64], places: Places, vocabulary: Vocabulary) -> NDArray[np.int64]:
    return find_longest(part.suffixes, part.tokens, vocabulary.rank_of, part.first_of, counts, *places)


def _open_split(data: DataDir, source: str, split: str, shards: TokenShards) -> list[Part]:
    directory = data.index / source / split
    records = []
    for number in range(len(shards.sizes)):
        try:
            record = read_part(directory, number, shards)
        except DataError as error:
            raise DataError(error.message, hint=rebuild(data)) from None
        if record is None:
            raise DataError(
                f"{data}: has no index of shard {number} of {source} {split}",
                hint=f"run `{shlex.join(['puna', 'data', 'index', str(data)])}`",
            )
        records.append(record)
    files = [file for record in records for file in record["files"]]
    if files:
        local = LocalFiles(directory)
        try:
            check_files(local, files)
            verify_files(directory, local, files, f"check the index of {source} {split}")
        except DataError as error:
            raise DataError(error.message, hint=rebuild(data)) from None
    return [_open_part(directory, source, split, shards, number) for number in range(len(records))]


def _open_part(directory: Path, source: str, split: str, shards: TokenShards, number: int) -> Part:
    suffixes, firsts = (directory / kind.format(number) for kind in KINDS)
    return Part(
        source, split, shards, shards.start_of(number), np.asarray(np.memmap(suffixes, SUFFIX, "r")),
        shards.map_tokens(number), np.fromfile(firsts, FIRST).astype(np.int64),
    )  # fmt: skip
