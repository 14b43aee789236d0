"""The number of a document, a function of the input alone: of equal documents the one with the lowest number stays.

From the highest bit: 0 for held-out and 1 for training text, 7 bits source (its place in the recipe), 24 bits file (its
place among the sorted names of the source), 32 bits record (its place in the file).
"""

from typing import NamedTuple

from puna.core.errors import DataError

MOST_FILES = 1 << 24
"""Most files of one source; archives can hold more documents."""
LAST_RECORD = (1 << 32) - 1
"""The highest place in a file."""
_LIMITS = {"source": 1 << 7, "file": MOST_FILES, "record": LAST_RECORD + 1}


class Position(NamedTuple):
    """The parts of a document's number."""

    heldout: bool
    source: int
    file: int
    record: int


def document_number(*, heldout: bool, source: int, file: int, record: int) -> int:
    """The number of one document.

    Raises:
        DataError: There are more sources, files in a source or records in a file than numbers.
    """
    places = {"source": source, "file": file, "record": record}
    for name, place in places.items():
        if not 0 <= place < _LIMITS[name]:
            raise DataError(f"{name} {place:,}: a build numbers at most {_LIMITS[name]:,} of them")
    return (0 if heldout else 1 << 63) | source << 56 | file << 32 | record


def position_of(number: int) -> Position:
    """The parts of a document's number, taken apart."""
    return Position(not number >> 63, number >> 56 & 127, number >> 32 & (MOST_FILES - 1), number & LAST_RECORD)
