"""The rule `gopher-repetition`: repeated lines, paragraphs and n-grams (Rae et al. 2021, table A1).

`puna.data.text.repetition` defines duplicates and the characters that count. The paper leaves open whether the first of
several equal lines is a duplicate too; here, as in datatrove and RedPajama v2, it is not.
"""

from puna.config.rules import GopherRepetitionRules
from puna.data.document import Document, Dropped
from puna.data.spec import RuleSpec
from puna.data.text.repetition import repeated_lines, repeated_ngrams

LINES, PARAGRAPHS = "gopher-repetition.duplicate_lines", "gopher-repetition.duplicate_paragraphs"
LINE_CHARACTERS = "gopher-repetition.duplicate_line_characters"
PARAGRAPH_CHARACTERS = "gopher-repetition.duplicate_paragraph_characters"
TOP_NGRAM, NGRAMS = "gopher-repetition.top_ngram", "gopher-repetition.duplicate_ngrams"

_SOURCE = "(Rae et al. 2021, table A1)."
REASONS = {
    LINES: f"Too many of its lines stood before {_SOURCE}",
    PARAGRAPHS: f"Too many of its paragraphs stood before {_SOURCE}",
    LINE_CHARACTERS: f"Lines that stood before have too many of its characters {_SOURCE}",
    PARAGRAPH_CHARACTERS: f"Paragraphs that stood before have too many of its characters {_SOURCE}",
    TOP_NGRAM: f"The most frequent sequence of some words has too many of its characters {_SOURCE}",
    NGRAMS: f"Sequences of some words that stood before have too many of its characters {_SOURCE}",
}


class GopherRepetition:
    """Drops documents that repeat themselves.

    Args:
        rules: The thresholds; without those for n-grams the rule is several times faster.
    """

    def __init__(self, rules: GopherRepetitionRules) -> None:
        self._rules = rules
        self._top = _by_number(rules.top_ngrams)
        self._duplicate = _by_number(rules.duplicate_ngrams)

    def __call__(self, document: Document) -> Document | Dropped:
        """The unchanged document, or the reason to drop it."""
        fault = self._repeated_lines(document.text) or self._repeated_ngrams(document.text)
        if fault is None:
            return document
        reason, share, most, what = fault
        detail = f"{share:.3g} of the {what}, at most {most:g}"
        return Dropped(document.source, document.id, reason, detail, document.text)

    def _repeated_lines(self, text: str) -> tuple[str, float, float, str] | None:
        rules = self._rules
        lines, paragraphs = repeated_lines(text)
        for count, reasons, limits, what in (
            (lines, (LINES, LINE_CHARACTERS), (rules.duplicate_lines, rules.duplicate_line_characters), "lines"),
            (
                paragraphs, (PARAGRAPHS, PARAGRAPH_CHARACTERS),
                (rules.duplicate_paragraphs, rules.duplicate_paragraph_characters), "paragraphs",
            ),
        ):  # fmt: skip
            share = count.duplicates / max(count.count, 1)
            if share > limits[0]:
                return reasons[0], share, limits[0], what
            share = count.duplicate_characters / max(count.characters, 1)
            if share > limits[1]:
                return reasons[1], share, limits[1], "characters"
        return None

    def _repeated_ngrams(self, text: str) -> tuple[str, float, float, str] | None:
        numbers = self._top.keys() | self._duplicate.keys()
        if not numbers:
            return None
        found = repeated_ngrams(text, min(numbers), max(numbers))
        for reason, limits, counts in ((TOP_NGRAM, self._top, found.top), (NGRAMS, self._duplicate, found.duplicate)):
            for n, most in limits.items():
                share = counts[n] / max(found.characters, 1)
                if share > most:
                    return reason, share, most, f"characters in {n}-grams"
        return None


def _by_number(limits: dict[str, float]) -> dict[int, float]:
    """Thresholds in the order of their n."""
    return {int(n): limits[n] for n in sorted(limits, key=int)}


RULE = RuleSpec(
    name="gopher-repetition",
    settings=GopherRepetitionRules,
    make=GopherRepetition,
    does="drops texts with repeated lines, paragraphs and n-grams",
    after="Rae et al. 2021, table A1",
    reasons=REASONS,
)
