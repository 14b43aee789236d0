"""The rule `code`: source code by the length of its lines, its share of letters and digits, and its licence.

LLaMA (Touvron et al. 2023, section 2.1) keeps GitHub's projects under Apache, BSD and MIT licences, drops files of low
quality "based on the line length or proportion of alphanumeric characters", and removes boilerplate such as headers.
The paper gives no thresholds; ours are RedPajama v1's. Headers are removed before anything else is measured or
compared, so that files that differ only in their headers are duplicates. What a header says of the licence is read
before: by the reader of code or, where rows come from another reader, here. RedPajama v1 also drops files with fewer
than 1.5 letters per token of another model's tokenizer: that is not in the paper and is left out.

Newlines separate lines; letters and digits are those of Python's `str.isalnum`, of any script.
"""

from dataclasses import replace

from puna.config.rules import CodeRules
from puna.data.document import EMPTY, Document, Dropped
from puna.data.spec import RuleSpec
from puna.data.text.code_header import without_copyright
from puna.data.text.decode import clean_text
from puna.data.text.licence_expressions import is_permitted
from puna.data.text.licence_notices import notice

LICENCE, LONG_LINE, LONG_LINES, FEW_ALPHANUMERIC = (
    "code.licence", "code.long_line", "code.long_lines", "code.few_alphanumeric",
)  # fmt: skip

REASONS = {
    LICENCE: "Its licence is unknown or not one to keep (LLaMA, section 2.1: Apache, BSD and MIT).",
    LONG_LINE: "Its longest line is too long (LLaMA, section 2.1; threshold of RedPajama v1 and Chen et al. 2021).",
    LONG_LINES: "Its lines are too long on average (LLaMA, section 2.1; threshold of Chen et al. 2021, section 3.1).",
    FEW_ALPHANUMERIC: "Too few of its characters are letters or digits (LLaMA, section 2.1; RedPajama v1's threshold).",
}

_ASCII = bytes(range(128))
_ASCII_ALPHANUMERIC = bytes(code for code in range(128) if chr(code).isalnum())


class Code:
    """Drops files of low quality or without a permitted licence, and removes notices of copyright.

    Args:
        rules: The thresholds.
    """

    def __init__(self, rules: CodeRules) -> None:
        self._rules = rules
        self._licences = [licence.lower() for licence in rules.licences]

    def __call__(self, document: Document) -> Document | Dropped:
        """The file without its header, or the reason to drop it."""
        rules = self._rules
        if not document.licence_from and (own := notice(document.text, document.language)).licence:
            document = replace(document, licence=own.licence, licence_from=f'"{own.words}"')
        if self._licences and not is_permitted(document.licence, self._licences):
            licence = document.licence or "unknown"
            detail = f"{licence}: {document.licence_from}" if document.licence_from else licence
            return _dropped(document, LICENCE, detail)
        if rules.strip_header:
            text = clean_text(without_copyright(document.text, document.language), code=True)
            if not text:
                return _dropped(document, EMPTY, "nothing but a notice of copyright")
            if text != document.text:
                document = replace(document, text=text)
        longest, mean = line_lengths(document.text)
        if longest > rules.max_line_length:
            return _dropped(document, LONG_LINE, f"{longest} characters, at most {rules.max_line_length}")
        if mean > rules.max_mean_line_length:
            return _dropped(document, LONG_LINES, f"{mean:.1f} characters, at most {rules.max_mean_line_length}")
        share = alphanumeric_share(document.text)
        if share < rules.min_alphanumeric:
            return _dropped(document, FEW_ALPHANUMERIC, f"{share:.3f}, at least {rules.min_alphanumeric}")
        return document


def _dropped(document: Document, reason: str, detail: str) -> Dropped:
    return Dropped(document.source, document.id, reason, detail, document.text)


def line_lengths(text: str) -> tuple[int, float]:
    """The length of the longest line and the mean length of all, in characters without the newlines."""
    lengths = list(map(len, text.split("\n")))
    return max(lengths), sum(lengths) / len(lengths)


def alphanumeric_share(text: str) -> float:
    """The share of characters that are letters or digits; 0 for an empty text."""
    if not text:
        return 0.0
    encoded = text.encode()
    count = len(encoded) - len(encoded.translate(None, _ASCII_ALPHANUMERIC))
    if len(encoded) != len(text):
        count += sum(map(str.isalnum, encoded.translate(None, _ASCII).decode()))
    return count / len(text)


RULE = RuleSpec(
    name="code",
    settings=CodeRules,
    make=Code,
    does="line lengths, letters and digits, licences; removes copyright headers",
    after="LLaMA, section 2.1; RedPajama v1",
    changes="lines",
    reasons=REASONS,
)
