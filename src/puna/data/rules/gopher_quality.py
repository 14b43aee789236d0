"""The rule `gopher-quality`: words, symbols, bullets (Rae et al. 2021, appendix A.1.1).

Words, lines and ellipses are those of `puna.data.text`; the paper does not define them. Stop words are found in any
case and with any punctuation around them; documents in a known language other than English are not tested for them.
"""

from puna.config.rules import GopherQualityRules
from puna.data.document import Document, Dropped
from puna.data.spec import RuleSpec
from puna.data.text.kernel_constants import STOP_WORDS
from puna.data.text.statistics import Statistics, statistics

FEW_WORDS, MANY_WORDS = "gopher-quality.few_words", "gopher-quality.many_words"
SHORT_WORDS, LONG_WORDS = "gopher-quality.short_words", "gopher-quality.long_words"
HASHES, ELLIPSES = "gopher-quality.hashes", "gopher-quality.ellipses"
BULLET_LINES, ELLIPSIS_LINES = "gopher-quality.bullet_lines", "gopher-quality.ellipsis_lines"
FEW_ALPHABETIC, FEW_STOP_WORDS = "gopher-quality.few_alphabetic_words", "gopher-quality.few_stop_words"

_SOURCE = "(Rae et al. 2021, appendix A.1.1)."
REASONS = {
    FEW_WORDS: f"It has too few words {_SOURCE}",
    MANY_WORDS: f"It has too many words {_SOURCE}",
    SHORT_WORDS: f"Its words are too short on average {_SOURCE}",
    LONG_WORDS: f"Its words are too long on average {_SOURCE}",
    HASHES: f"It has too many hash signs for its words {_SOURCE}",
    ELLIPSES: f"It has too many ellipses for its words {_SOURCE}",
    BULLET_LINES: f"Too many of its lines begin with a bullet {_SOURCE}",
    ELLIPSIS_LINES: f"Too many of its lines end with an ellipsis {_SOURCE}",
    FEW_ALPHABETIC: f"Too few of its words have a letter {_SOURCE}",
    FEW_STOP_WORDS: f"It has too few of the words {', '.join(STOP_WORDS)} {_SOURCE}",
}


class GopherQuality:
    """Drops documents that do not look like prose.

    Args:
        rules: The thresholds.
    """

    def __init__(self, rules: GopherQualityRules) -> None:
        self._rules = rules

    def __call__(self, document: Document) -> Document | Dropped:
        """The unchanged document, or the reason to drop it."""
        fault = self._fault(statistics(document.text), english=document.language in ("", "en"))
        if fault is None:
            return document
        reason, detail = fault
        return Dropped(document.source, document.id, reason, detail, document.text)

    def _fault(self, found: Statistics, *, english: bool) -> tuple[str, str] | None:
        """The first reason against a text, and the measurement."""
        rules, words, lines = self._rules, max(found.words, 1), max(len(found.lines), 1)
        if found.words < rules.min_words:
            return FEW_WORDS, f"{found.words} words, at least {rules.min_words}"
        if found.words > rules.max_words:
            return MANY_WORDS, f"{found.words} words, at most {rules.max_words}"
        mean = found.word_characters / words
        if mean < rules.min_mean_word_length:
            return SHORT_WORDS, f"{mean:.2f} characters, at least {rules.min_mean_word_length:g}"
        shares = (
            (LONG_WORDS, mean, rules.max_mean_word_length, "characters"),
            (HASHES, found.hashes / words, rules.max_symbol_ratio, "per word"),
            (ELLIPSES, found.ellipses / words, rules.max_symbol_ratio, "per word"),
            (BULLET_LINES, found.bullet_lines / lines, rules.max_bullet_lines, "of the lines"),
            (ELLIPSIS_LINES, found.ellipsis_lines / lines, rules.max_ellipsis_lines, "of the lines"),
        )
        for reason, value, most, unit in shares:
            if value > most:
                return reason, f"{value:.3g} {unit}, at most {most:g}"
        alphabetic = found.alphabetic_words / words
        if alphabetic < rules.min_alphabetic_words:
            return FEW_ALPHABETIC, f"{alphabetic:.3g} of the words, at least {rules.min_alphabetic_words:g}"
        if english and found.stop_words < rules.min_stop_words:
            return FEW_STOP_WORDS, f"{found.stop_words} of them, at least {rules.min_stop_words}"
        return None


RULE = RuleSpec(
    name="gopher-quality",
    settings=GopherQualityRules,
    make=GopherQuality,
    does="drops texts by their words, symbols and bullets",
    after="Rae et al. 2021, appendix A.1.1",
    reasons=REASONS,
)
