"""What people want to know of an occurrence: its document, where it is from, and the text around it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from puna.search.index import Occurrences, Part, TextIndex

_AROUND = 60
"""Characters of text that are shown on each side."""


@dataclass(frozen=True)
class Place:
    """One occurrence of a text."""

    source: str
    split: str
    """`train` or `heldout`."""
    id: str
    """Of the document, in its source."""
    origin: str
    """What was read, with its version."""
    url: str
    licence: str
    """Licence as the document itself states it; empty if it does not."""
    date: str
    """ISO 8601: when it was written or fetched; empty if nobody knows."""
    offset: int
    """At which byte of the document's text the occurrence begins."""
    before: str
    """The text before it, cut to some characters."""
    text: str
    """The occurrence itself, as it is written there."""
    after: str
    position: int
    """Position of the token that it begins in, in the shards of its source and split."""


@dataclass(frozen=True)
class Found:
    """What was found of a text."""

    counts: dict[str, dict[str, int]]
    """Occurrences by split and source, where there are any."""
    places: list[Place]
    """The first of them: training documents before held-out ones, then by source and in the order of the shards."""

    def count(self, split: str) -> int:
        """Occurrences in a split."""
        return sum(self.counts.get(split, {}).values())


def found(index: TextIndex, occurrences: list[Occurrences], size: int, *, most: int, fold: bool = False) -> Found:
    """Count occurrences, and describe the first of them.

    Args:
        index: Where they were found.
        occurrences: In each part.
        size: Bytes of the text; with `fold`, characters of the folded text.
        most: How many are described.
        fold: Whether the occurrences are in any case.
    """
    counts: dict[str, dict[str, int]] = {}
    places: list[Place] = []
    for one in sorted(occurrences, key=lambda one: one.part.split != "train"):
        if not one.count:
            continue
        of_split = counts.setdefault(one.part.split, {})
        of_split[one.part.source] = of_split.get(one.part.source, 0) + one.count
        for token, byte in one.first(most - len(places)):
            places.append(_place(index, one.part, token, byte, size, fold))
    return Found(counts, places)


def _place(index: TextIndex, part: Part, token: int, byte: int, size: int, fold: bool) -> Place:
    document, start, count = part.shards.document_at(part.first + token)
    start -= part.first
    ids, lengths = part.tokens[start : start + count], index.vocabulary.lengths
    at = token - start
    offset = int(lengths[ids[:at]].sum()) + byte
    texts = np.flatnonzero(lengths[ids])
    # The space that the tokenizer puts before a text.
    spaced = (
        index.tokenizer.space_prefix and len(texts) > 0 and index.tokenizer.bytes_of(int(ids[texts[0]]))[:1] == b" "
    )
    if spaced and offset == 0:
        byte, size = byte + 1, size - 1  # tokens were looked for, and the first one has it
    elif spaced:
        offset -= 1
    # A character has at most 4 bytes, and folding gives at least one character for each.
    wide = 4 * (_AROUND + size) + byte
    first, end = _window(lengths[ids], at, wide)
    content = b"".join(index.tokenizer.bytes_of(int(one)) for one in ids[first:end])
    begin = int(lengths[ids[first:at]].sum()) + byte
    if spaced and first == 0:
        content, begin = content[1:], begin - 1
    behind = content[begin:].decode("utf-8", errors="ignore")
    if fold:
        characters = _folded_characters(behind, size)
    else:
        characters = len(content[begin : begin + size].decode("utf-8", errors="ignore"))
    before = content[:begin].decode("utf-8", errors="ignore")
    return Place(
        part.source, part.split, document["id"], document["origin"], document.get("url", ""),
        document.get("licence", ""), document.get("date", ""), offset, before[-_AROUND:], behind[:characters],
        behind[characters : characters + _AROUND], part.first + token,
    )  # fmt: skip


def _window(lengths: NDArray[np.int64], at: int, wide: int) -> tuple[int, int]:
    """The tokens around one with this number of bytes on each side, or all there are."""
    first, bytes_before = at, 0
    while first > 0 and bytes_before < wide:
        first -= 1
        bytes_before += int(lengths[first])
    end, bytes_behind = at, 0
    while end < len(lengths) and bytes_behind < wide:
        bytes_behind += int(lengths[end])
        end += 1
    return first, end


def _folded_characters(text: str, size: int) -> int:
    """How many characters fold to this number."""
    folded = 0
    for number, character in enumerate(text):
        if folded >= size:
            return number
        folded += len(character.casefold())
    return len(text)
