"""The rule `decontaminate`: documents that hold text of evaluation sets (Brown et al. 2020, appendix C).

A document overlaps with a row of a set if both have the same n (13) consecutive normalised words, in any of their
forms (`puna.data.text.compared`). Numbers are words too, but n-grams with more than half of their words numbers or
single letters of ASCII are not used, since they prove nothing. A row without n words in one string is compared only
where the recipe sets `short_words`: then it overlaps if the document holds one of its strings whole, between borders
of words. N-grams are compared by 64-bit hashes and not verified: for a corpus with 10^12 of them and sets with 10^6,
a wrong match is expected once in some 20 such corpora.
"""

import re
from pathlib import Path
from typing import Any

from puna.config.rules import DecontaminateRules
from puna.data.document import Document, Dropped
from puna.data.models.evaluation_sets import set_files
from puna.data.models.ngram_table import NgramTable, Overlap, hashes_of
from puna.data.spec import RuleSpec
from puna.data.text.words import normalised_words

OVERLAP = "decontaminate.overlap"

REASONS = {
    OVERLAP: "Holds 13 words in a row (or what the recipe says), or a whole short question, of an evaluation set "
    "(Brown et al. 2020, appendix C)."
}

_EXCERPT_WORDS = 30
_CHUNK, _LONGEST_WORD = 8192, 100_000
_SPACE = re.compile(r"[ \t\n]")


class Decontaminate:
    """Finds documents that overlap with evaluation sets, and drops them where the recipe says so.

    Args:
        rules: The sets, the length of the n-grams, and whether to drop.
        table: Directory of a table saved by `NgramTable.save`. Without it the table is built now.

    Raises:
        DataError: A set or the table is missing or damaged.
    """

    def __init__(self, rules: DecontaminateRules, table: Path | None = None) -> None:
        self._drop = rules.action == "drop"
        self._sets = rules.sets
        self._directory = table
        self._table = NgramTable.load(table) if table else NgramTable.build(rules)
        self._found: list[dict[str, Any]] = []

    @property
    def files(self) -> list[Path]:
        """The files that determine the result."""
        return [path for paths in set_files(self._sets).values() for path in paths]

    def __call__(self, document: Document) -> Document | Dropped:
        """The unchanged document, or the reason to drop it; its overlaps go into the report."""
        overlaps = self._table.overlaps_of(document.text)
        if not overlaps:
            return document
        self._found += [self._row(document, overlap) for overlap in overlaps]
        if not self._drop:
            return document
        most, others = overlaps[0], len(overlaps) - 1
        detail = f"{most.set} row {most.row}: {most.words} words in common"
        if others:
            detail += f", and {others} more row{'s' * (others > 1)}"
        return Dropped(document.source, document.id, OVERLAP, detail, document.text)

    def report(self) -> list[dict[str, Any]]:
        """Overlaps found since the last call: document, set, file, row, n-grams and words in common, excerpt."""
        found, self._found = self._found, []
        return found

    def _row(self, document: Document, overlap: Overlap) -> dict[str, Any]:
        return {
            "source": document.source,
            "id": document.id,
            "set": overlap.set,
            "file": overlap.file,
            "row": overlap.row,
            "ngrams": overlap.ngrams,
            "words": overlap.words,
            "excerpt": " ".join(words_at(overlap.text, overlap.first, min(overlap.words, _EXCERPT_WORDS))),
        }

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | ({"_table": None} if self._directory else {})

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        if self._directory:
            self._table = NgramTable.load(self._directory)


def words_at(text: str, first: int, count: int) -> list[str]:
    """Normalised words of a text from a place on; only text near the place is read character by character.

    A stretch of 100,000 characters without a space is left out.
    """
    found: list[str] = []
    start = 0
    while start < len(text) and len(found) < count:
        space = _SPACE.search(text, start + _CHUNK)
        piece = text[start : space.start() if space else len(text)]
        start += len(piece)
        size = hashes_of(piece).size
        if size > first:
            if len(piece) > _CHUNK + _LONGEST_WORD:
                break
            found += normalised_words(piece)[first : first + count - len(found)]
        first = max(first - size, 0)
    return found


RULE = RuleSpec(
    name="decontaminate",
    settings=DecontaminateRules,
    make=Decontaminate,
    does="drops, or only reports, what shares 13 words in a row with an evaluation set",
    after="Brown et al. 2020, appendix C",
    reasons=REASONS,
)
