"""The rule `lines`: CCNet's removal of lines that occur more than once (Wenzek et al. 2020, section 3.1).

A line's hash is that of cc_net (text_normalizer.py, dedup.py), so that the two can be compared: the first 8 bytes,
little-endian, of the SHA-1 of the line without white space at its ends, in lower case, with every digit replaced by 0,
and without control characters and the 34 marks of punctuation that cc_net lists. ASCII punctuation stays, and so do
accents: the paper removes them, but cc_net does not.

A line in two documents of a dump is removed from both; of a line that occurs several times in a single document the
first stays. As in cc_net, a document counts once for each of its lines, and each dump is counted alone.
"""

import hashlib
import re
from dataclasses import replace
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from puna.config.rules import LineRules
from puna.data.document import Document, Dropped
from puna.data.spec import RuleSpec

TOO_SHORT = "lines.too_short"

REASONS = {
    TOO_SHORT: "It has too few characters, before or after lines that stand more than once are removed (Wenzek et al. "
    "2020, section 3.1; the threshold is cc_net's, which looks only before)."
}

PUNCTUATION = (
    "\u00ab\u00b4\u00bb\u2013\u2014\u2019\u201c\u201d\u201e\u2026\u2236\u2501\u25ba\u3001\u3002\u3008\u3009\u300a\u300b"
    "\u300c\u300d\u3010\u3011\uff01\uff05\uff08\uff09\uff0c\uff0e\uff11\uff1a\uff1b\uff1f\uff5e"
)
"""Characters that cc_net removes (`UNICODE_PUNCT`); its full-width 1 has already become a 0."""

_CONTROLS = bytes([*range(0x0A), *range(0x0B, 0x20), 0x7F])
_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_DIGIT = re.compile(r"\d")
_REMOVED = re.compile(rf"[{PUNCTUATION}\x00-\x09\x0b-\x1f\x7f-\x9f]")

BLANK = int.from_bytes(hashlib.sha1(b"", usedforsecurity=False).digest()[:8], "little")
"""The hash of a line that is empty after normalisation."""

_last: tuple[str, NDArray[np.uint64]] | None = None


def line_hashes(text: str) -> NDArray[np.uint64]:
    """The hash of each line, in order, including blank ones; those of the last text are cached.

    Args:
        text: The text; line feeds separate its lines.
    """
    global _last
    last = _last
    if last is None or last[0] is not text:
        _last = last = (text, _hash_lines(text))
    return last[1]


def _hash_lines(text: str) -> NDArray[np.uint64]:
    # All lines at once: a line feed is not a letter, so a line's lower case does not depend on its neighbours.
    lines = "\n".join([line.strip() for line in text.split("\n")]).lower()
    if lines.isascii():
        data = lines.encode().translate(_ZEROS, _CONTROLS)
    else:
        data = _REMOVED.sub("", _DIGIT.sub("0", lines)).encode()
    sha1 = hashlib.sha1
    digests = [sha1(line, usedforsecurity=False).digest()[:8] for line in data.split(b"\n")]
    return np.frombuffer(b"".join(digests), dtype="<u8")


def too_short(document: Document, min_chars: int) -> Dropped | None:
    """The reason to drop a document with fewer than `min_chars` characters; None if it has enough."""
    if len(document.text) >= min_chars:
        return None
    return Dropped(document.source, document.id, TOO_SHORT, _detail(document.text, min_chars), document.text)


def remove_lines(document: Document, duplicated: NDArray[np.uint64], min_chars: int) -> Document | Dropped:
    """The document without its duplicated lines, or the reason to drop it.

    Lines that are empty after normalisation are removed too: in cc_net their common hash is in every file.

    Args:
        document: The document to remove lines from.
        duplicated: The hashes of lines that more than one document has, sorted.
        min_chars: A document with fewer characters is dropped, before or after lines are removed.
    """
    if dropped := too_short(document, min_chars):
        return dropped
    hashes = line_hashes(document.text)
    stays = hashes != BLANK
    if len(duplicated):
        at = np.minimum(np.searchsorted(duplicated, hashes), len(duplicated) - 1)
        stays &= duplicated[at] != hashes
    seen: set[int] = set()
    kept = []
    for line, value, stay in zip(document.text.split("\n"), hashes.tolist(), stays.tolist(), strict=True):
        if stay and value not in seen:
            seen.add(value)
            kept.append(line)
    text = "\n".join(kept).strip()
    if len(text) < max(min_chars, 1):
        detail = _detail(text, min_chars) + f", {len(hashes) - len(kept)} of {len(hashes)} lines removed"
        return Dropped(document.source, document.id, TOO_SHORT, detail, document.text)
    return document if text == document.text else replace(document, text=text)


def _detail(text: str, min_chars: int) -> str:
    return f"{len(text)} characters, at least {max(min_chars, 1)}"


def _of_all_documents(rules: LineRules) -> NoReturn:
    raise ValueError("the rule 'lines' compares all documents of a dump: puna.data.stages.lines does")


RULE = RuleSpec(
    name="lines",
    settings=LineRules,
    make=_of_all_documents,
    does="removes lines that stand more than once in a dump; drops short pages",
    after="CCNet, section 3.1",
    changes="lines",
    reasons=REASONS,
)
