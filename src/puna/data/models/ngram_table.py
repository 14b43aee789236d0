"""The n-grams of evaluation sets as a table that many processes map into memory.

```
<directory>/
  hashes.npy    uint64, sorted: the hash of each n-gram, once
  owners.npy    uint32: the row of each n-gram; of several the first, with sets in the order of their names
  filter.npy    uint64: a bitmap that answers most searches
  rows.npy      int64, two columns: the file of each row, and its number there
  table.json    n, the lengths of rows compared whole, the files, and how many rows and n-grams each set has
```

Texts are compared in all their forms (`puna.data.text.compared`). A row that is shorter than n words has no n-gram;
where the recipe says so, each of its strings with enough words is compared whole, as an n-gram of its own length.
"""

import json
import math
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase, digits

import numpy as np
from numpy.typing import NDArray

from puna.config.rules import DecontaminateRules
from puna.core.errors import DataError
from puna.core.files import atomic_directory, write_json
from puna.data.models.evaluation_rows import Row, read_rows
from puna.data.models.evaluation_sets import set_files
from puna.data.text.compared import forms
from puna.data.text.words import composed, hashes_and_lengths, word_hashes

FORMAT = 2
_BITS_PER_NGRAM = 16
_OTHER_DIGITS = str.maketrans(digits, digits[1:] + digits[0])
_OTHER_LETTERS = str.maketrans(
    ascii_lowercase + ascii_uppercase,
    ascii_lowercase[1:] + ascii_lowercase[0] + ascii_uppercase[1:] + ascii_uppercase[0],
)
_ARRAYS = {"hashes": np.uint64, "owners": np.uint32, "bitmap": np.uint64, "rows": np.int64}
_FILES = {"hashes": "hashes.npy", "owners": "owners.npy", "bitmap": "filter.npy", "rows": "rows.npy"}


@dataclass(frozen=True)
class Overlap:
    """The overlap of a document with one row of an evaluation set."""

    set: str
    file: str
    row: int
    ngrams: int
    """How many n-grams of the document are also in the row."""
    words: int
    """How many words of the document are in these n-grams."""
    first: int
    """The place of the first of these words in the form of the document that has them, from 0."""
    text: str = field(default="", compare=False, repr=False)
    """The form itself; empty where words alone were compared."""


@dataclass(frozen=True)
class NgramTable:
    """The n-grams of all sets of a recipe."""

    n: int
    hashes: NDArray[np.uint64]
    owners: NDArray[np.uint32]
    bitmap: NDArray[np.uint64]
    rows: NDArray[np.int64]
    files: list[tuple[str, str]]
    """Set and name of each file."""
    sets: dict[str, dict[str, int]]
    """For each set: `rows`, `compared` (rows with an n-gram), `whole` (shorter rows that are compared whole), and
    `ngrams` (those that no earlier row has)."""
    short: list[int] = field(default_factory=list)
    """The lengths of what is compared whole, in words."""

    @staticmethod
    def build(rules: DecontaminateRules) -> "NgramTable":
        """The table of a recipe's evaluation sets.

        Raises:
            DataError: A set has no files, or one is damaged.
        """
        from puna.data.models.ngram_kernel import make_filter

        files: list[tuple[str, str]] = []
        rows: list[tuple[int, int]] = []
        hashes, owners = [np.empty(0, np.uint64)], [np.empty(0, np.uint32)]
        paths = set_files(rules.sets)
        sets = {name: {"rows": 0, "compared": 0, "whole": 0, "ngrams": 0} for name in paths}
        short: set[int] = set()
        for name, figures in sets.items():
            for path in paths[name]:
                for row in read_rows(path):
                    found = row_hashes(row, rules.ngram)
                    figures["rows"] += 1
                    figures["compared"] += found.size > 0
                    if not found.size and rules.short_words:
                        whole = whole_hashes(row, rules.short_words, rules.ngram)
                        short |= whole.keys()
                        found = np.unique(np.array([*chain(*whole.values())], dtype=np.uint64))
                        figures["whole"] += found.size > 0
                    if found.size:
                        hashes.append(found)
                        owners.append(np.full(found.size, len(rows), dtype=np.uint32))
                        rows.append((len(files), row.number))
                files.append((name, path.name))
        unique, first = np.unique(np.concatenate(hashes), return_index=True)  # the first is the first row's
        owner = np.concatenate(owners)[first]
        of_rows = np.array(rows, dtype=np.int64).reshape(-1, 2)
        for number, count in enumerate(np.bincount(of_rows[owner, 0], minlength=len(files))):
            sets[files[number][0]]["ngrams"] += int(count)
        bits = max(6, math.ceil(math.log2(max(_BITS_PER_NGRAM * unique.size, 1))))
        bitmap = make_filter(unique, bits)
        return NgramTable(rules.ngram, unique, owner, bitmap, of_rows, files, sets, sorted(short))

    def overlaps_of(self, text: str) -> list[Overlap]:
        """The overlaps of a document, most words first; of each row the form with most words in common."""
        found: dict[tuple[str, str, int], Overlap] = {}
        for form in forms(text):
            for overlap in self.overlaps(hashes_of(form)):
                row = (overlap.set, overlap.file, overlap.row)
                if row not in found or found[row].words < overlap.words:
                    found[row] = replace(overlap, text=form)
        return sorted(found.values(), key=lambda overlap: -overlap.words)

    def overlaps(self, words: NDArray[np.uint64]) -> list[Overlap]:
        """The overlaps of a form of a document with these word hashes, most words first."""
        found = [overlap for n in (self.n, *self.short) for overlap in self._overlaps(words, n)]
        return sorted(found, key=lambda overlap: -overlap.words)

    def _overlaps(self, words: NDArray[np.uint64], n: int) -> list[Overlap]:
        """The overlaps with rows that are compared by n words, in the order of the rows."""
        from puna.data.models.ngram_kernel import find_ngrams

        bits = self.bitmap.size.bit_length() + 5
        places, indices = find_ngrams(words, n, self.hashes, self.bitmap, bits)
        if not places.size:
            return []
        owners = self.owners[indices]
        order = np.argsort(owners, kind="stable")
        starts = np.flatnonzero(np.diff(owners[order], prepend=-1))
        return [
            self._overlap(int(owners[group[0]]), places[group], n)
            for group in np.split(order, starts[1:])
            if group.size
        ]

    def save(self, directory: Path) -> None:
        """Write the table; the directory appears when it is complete."""
        with atomic_directory(directory, replace=True) as temporary:
            for name, file in _FILES.items():
                np.save(temporary / file, getattr(self, name), allow_pickle=False)
            write_json(
                temporary / "table.json",
                {"format": FORMAT, "n": self.n, "short": self.short, "files": self.files, "sets": self.sets},
            )

    @staticmethod
    def load(directory: Path) -> "NgramTable":
        """A table that `save` has written; its arrays are mapped into memory, not read.

        Raises:
            DataError: There is none, or it is damaged.
        """
        try:
            head = json.loads((directory / "table.json").read_bytes())
            if head["format"] != FORMAT:
                raise ValueError(f"its format is {head['format']}, expected {FORMAT}")
            arrays = {
                name: np.load(directory / file, mmap_mode="r", allow_pickle=False) for name, file in _FILES.items()
            }
            for name, kind in _ARRAYS.items():
                if arrays[name].dtype != kind:
                    raise ValueError(f"{_FILES[name]} holds {arrays[name].dtype}, expected {np.dtype(kind)}")
            files = [(str(name), str(file)) for name, file in head["files"]]
            short = [int(length) for length in head["short"]]
            return NgramTable(n=int(head["n"]), files=files, sets=dict(head["sets"]), short=short, **arrays)
        except (OSError, EOFError, ValueError, TypeError, KeyError) as error:
            raise DataError(f"{directory}: is not a table of n-grams that can be used ({error})") from None

    def _overlap(self, owner: int, places: NDArray[np.int64], n: int) -> Overlap:
        """The overlap with one row, from the places of its n-grams in the document, in their order."""
        file, number = (int(value) for value in self.rows[owner])
        words = int(np.minimum(np.diff(places), n).sum()) + n
        return Overlap(*self.files[file], number, places.size, words, int(places[0]))


def row_hashes(row: Row, n: int) -> NDArray[np.uint64]:
    """The hashes of the n-grams of a row, in all forms; no n-gram reaches from one string into the next."""
    long = [string for string in row.strings if len(string) >= n]  # a word has a character
    found = [_string_hashes(form, n) for string in long for form in forms(string)]
    return np.unique(np.concatenate(found)) if found else np.empty(0, np.uint64)


def whole_hashes(row: Row, least: int, n: int) -> dict[int, list[int]]:
    """By length in words, the hashes of a row's strings of at least `least` and less than `n` words, in all forms."""
    found: dict[int, list[int]] = {}
    for form in dict.fromkeys(form for string in row.strings if len(string) >= least for form in forms(string)):
        size = hashes_of(form).size
        if least <= size < n:
            for value in _string_hashes(form, size).tolist():
                found.setdefault(size, []).append(value)
    return found


def _string_hashes(string: str, n: int) -> NDArray[np.uint64]:
    """The hashes of a string's n-grams, except those with too few real words.

    At least half the words must be more than numbers and single letters of ASCII: `0, 1, 2, …` is in many programs,
    also in evaluation sets.
    """
    from puna.data.models.ngram_kernel import ngram_hashes

    words, lengths = hashes_and_lengths(_bytes(string))
    if words.size < n:
        return np.empty(0, np.uint64)
    # A word has a digit if it changes when all digits are replaced.
    has_digit = words != hashes_of(string.translate(_OTHER_DIGITS))
    is_letter = (lengths == 1) & (words != hashes_of(string.translate(_OTHER_LETTERS)))
    telling = np.cumsum(~(has_digit | is_letter), dtype=np.int64)
    in_ngram = telling[n - 1 :] - np.concatenate([np.zeros(1, np.int64), telling[:-n]])
    return ngram_hashes(words, n)[2 * in_ngram >= n]


def hashes_of(text: str) -> NDArray[np.uint64]:
    """The hashes of a text's normalised words."""
    return word_hashes(_bytes(text))


def _bytes(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(composed(text).encode("utf-8", "surrogatepass"), dtype=np.uint8)
