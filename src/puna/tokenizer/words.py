"""Text to token ids word by word, each word encoded once: the same ids as the library's, many times faster.

A *word* here is the text between two cuts (`puna.tokenizer.cuts`), so the ids of a text are those of its words in a
row. Words repeat: their ids are kept in a table, and only words that are not in it go to the library.
"""

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, pairwise

import numpy as np
from numpy.typing import NDArray

from puna.tokenizer.cuts import ALWAYS, Cuts

Ids = NDArray[np.uint32]
Lengths = NDArray[np.int64]

_END, _ASIDE = b"\xff", b"\xfe"
"""Bytes that never occur in UTF-8: one after each text, one in place of strings that are set aside."""

_END_ID = 0xFFFFFFFF
_GROUP = 1 << 20
"""Characters that a thread encodes at one time."""

_WORDS, _LETTERS = 1 << 19, 1 << 23
"""How many words a thread keeps, and how many bytes of them; a full table is emptied."""


def can_cut() -> bool:
    """Whether the package that compiles the passes over words is installed."""
    return importlib.util.find_spec("numba") is not None


def in_a_row(ids: list[list[int]]) -> tuple[Ids, Lengths]:
    """Ids of several words one after the other, and how many each word has."""
    lengths = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
    return np.fromiter(chain.from_iterable(ids), dtype=np.uint32, count=int(lengths.sum())), lengths


class WordEncoder:
    """Ids of texts from the ids of their words; several threads may use one.

    Args:
        encode_words: Calls the library: ids of words as in the middle of a text, in a row, and each word's number of
            ids.
        cuts: Where words end.
        prefix: Bytes put before every text but the empty one; they become part of the first word.
        known: Ids of words that `encode_words` must not get.
        aside: One of these words, with a cut on both sides wherever it occurs; empty if there is none.
    """

    def __init__(
        self, encode_words: Callable[[list[str]], tuple[Ids, Lengths]], cuts: Cuts, *, prefix: str = "",
        known: Mapping[str, list[int]] = {}, aside: str = "",
    ) -> None:  # fmt: skip
        self._encode_words = encode_words
        self._cuts = cuts.copy()
        for byte in _END + _ASIDE:
            self._cuts[byte] = self._cuts[:, byte] = ALWAYS
        self._prefix = prefix.encode()
        self._aside = aside.encode()
        self._known = {_END: [_END_ID]} | {
            _ASIDE if word == aside else word.encode(): ids for word, ids in known.items()
        }
        self._idle: list[_Table] = []

    def encode(self, texts: list[str], threads: int = 1) -> list[Ids]:
        """Ids of each text, on several threads; the texts are Unicode."""
        groups = list(_groups(texts))
        if threads == 1 or len(groups) == 1:
            return list(chain.from_iterable(map(self._encode_group, groups)))
        with ThreadPoolExecutor(min(threads, len(groups))) as pool:
            return list(chain.from_iterable(pool.map(self._encode_group, groups)))

    def _encode_group(self, texts: list[str]) -> list[Ids]:
        data = b"".join([self._prefix + text.encode() + _END if text else _END for text in texts])
        if self._aside:
            data = data.replace(self._aside, _ASIDE)
        try:
            table = self._idle.pop()  # one step for all threads
        except IndexError:
            table = _Table()
        # A table in which an error left words without ids is not used again.
        ids = np.concatenate(list(self._parts(np.frombuffer(data, dtype=np.uint8), table)))
        self._idle.append(table)
        ends = np.flatnonzero(ids == _END_ID).tolist()
        return [ids[before + 1 : end] for before, end in pairwise([-1, *ends])]

    def _parts(self, data: NDArray[np.uint8], table: "_Table") -> Iterator[Ids]:
        from puna.tokenizer.words_kernel import join_ids  # numba takes half a second

        position = 0
        while position < data.size:
            if not table.count:
                self._begin(table)
            kept = table.count
            position, n_words, n_others = table.number_words(data, position, self._cuts)
            if not n_words:  # it is full
                table.clear()
                continue
            words = table.words(kept) + [data[begin:end].tobytes() for begin, end in table.others[:n_others].tolist()]
            ids, lengths = in_a_row([])
            if words:
                ids, lengths = self._encode_words([word.decode() for word in words])
            if lengths.size != len(words) or lengths.sum() != ids.size:
                raise RuntimeError(f"the ids of {lengths.size} words came back for {len(words)}")
            other_ids, other_ends = table.keep_ids(ids, lengths, kept)
            yield join_ids(table.numbers[:n_words], table.ids, table.id_ends, other_ids, other_ends)

    def _begin(self, table: "_Table") -> None:
        """Put the known words into an empty table."""
        table.number_words(np.frombuffer(b"".join(self._known), dtype=np.uint8), 0, self._cuts)
        table.keep_ids(*in_a_row([*self._known.values()]), 0)


class _Table:
    """Words and their ids, for one thread at a time; unused memory is not allocated."""

    def __init__(self) -> None:
        self.count = 0
        self.table = np.zeros(2 * _WORDS, dtype=np.uint64)
        self.letters = np.empty(_LETTERS, dtype=np.uint8)
        self.ends = np.zeros(_WORDS + 1, dtype=np.int64)
        self.ids = np.empty(_LETTERS, dtype=np.uint32)
        self.id_ends = np.zeros(_WORDS + 1, dtype=np.int64)
        self.numbers = np.empty(1 << 16, dtype=np.int32)
        self.others = np.empty((1 << 12, 2), dtype=np.int64)

    def clear(self) -> None:
        self.table.fill(0)
        self.count = 0

    def number_words(self, data: NDArray[np.uint8], start: int, cuts: Cuts) -> tuple[int, int, int]:
        """Where the next word of `data` begins, and how many `numbers` and `others` there are."""
        from puna.tokenizer.words_kernel import number_words

        position, self.count, n_words, n_others = number_words(
            data, start, cuts, self.table, self.letters, self.ends, self.count, self.numbers, self.others
        )
        return position, n_words, n_others

    def words(self, first: int) -> list[bytes]:
        """The words from the number `first` on."""
        ends = self.ends[first : self.count + 1].tolist()
        letters = self.letters[ends[0] : ends[-1]].tobytes()
        return [letters[begin - ends[0] : end - ends[0]] for begin, end in pairwise(ends)]

    def keep_ids(self, ids: Ids, lengths: Lengths, first: int) -> tuple[Ids, NDArray[np.int64]]:
        """Keep the ids of the words from the number `first` on, and return those of the others, with their ends."""
        n_new = self.count - first
        begin = self.id_ends[first]
        self.id_ends[first + 1 : self.count + 1] = begin + lengths[:n_new].cumsum()
        size = self.id_ends[self.count] - begin
        while begin + size > self.ids.size:
            self.ids = np.concatenate([self.ids, np.empty_like(self.ids)])
        self.ids[begin : begin + size] = ids[:size]
        return ids[size:], np.concatenate([[0], lengths[n_new:].cumsum()])


def _groups(texts: list[str]) -> Iterator[list[str]]:
    group: list[str] = []
    size = 0
    for text in texts:
        group.append(text)
        size += len(text)
        if size >= _GROUP:
            yield group
            group, size = [], 0
    if group:
        yield group
