"""A sentence for every reason to drop a document, and for every kind of loss."""

from collections.abc import Iterator, Mapping
from contextlib import suppress

from puna.core.errors import DataError, UserError
from puna.data.document import (
    BINARY,
    CONTAINED,
    DUPLICATE,
    EMPTY,
    INVALID_UTF8,
    NEAR,
    NO_RECORD,
    READER_FAILED,
    RULE_FAILED,
    TOO_LARGE,
    UNREADABLE,
    Dropped,
    Lost,
)  # fmt: skip
from puna.data.spec import ReaderSpec, RuleSpec
from puna.data.table import READERS, RULES, describe, find_reader, find_rule

UNKNOWN = "This version of Puna does not know the reason."

_COMMON = {
    EMPTY: "It has no text: nothing is left but whitespace.",
    BINARY: "It is not text: it holds a NUL, or more than a tenth of it are control characters.",
    INVALID_UTF8: "Its bytes are not text in their encoding, which is UTF-8 where no other one is named.",
    UNREADABLE: "It could not be read, or what follows in its file is damaged.",
    TOO_LARGE: "It is larger than data.max_document_bytes.",
    NO_RECORD: "The file holds no record of its format.",
    DUPLICATE: "Its text equals that of a document which was kept.",
    NEAR: "Its text nearly equals that of a document which was kept, as estimated by MinHash (Broder 1997).",
    CONTAINED: "A document which was kept holds most of it (LLaMA, section 2.1: more than 90 % content overlap).",
    READER_FAILED: "The reader met something in the record that it cannot handle, which is a defect of the reader.",
    RULE_FAILED: "A rule met something in the document that it cannot handle, which is a defect of the rule.",
}
"""Reasons that do not belong to a single format or rule."""


_DAMAGE = frozenset({INVALID_UTF8, UNREADABLE, TOO_LARGE, READER_FAILED, RULE_FAILED})
"""Reasons of any reader or rule that nobody has chosen."""

_explained: set[str] = set()
"""Reasons of others that some rule or reader has given: millions of documents may be dropped for one."""


def explain(reason: str) -> str:
    """The sentence for a reason; `UNKNOWN` where none is known."""
    if reason in _COMMON:
        return _COMMON[reason]
    for reasons in _sentences(reason.partition(".")[0]):
        if sentence := reasons.get(reason):
            return sentence
    return UNKNOWN


def check_reason(spec: RuleSpec | ReaderSpec, found: Dropped | Lost) -> None:
    """Refuse what a rule or reader drops or loses for a reason that nobody could look up.

    Raises:
        DataError: No sentence explains it.
    """
    reason = found.reason if isinstance(found, Dropped) else found.kind
    if reason in spec.reasons or reason in _explained:
        return
    if explain(reason) == UNKNOWN:
        what = f"dropped {found.source}/{found.id} for" if isinstance(found, Dropped) else "lost something of the kind"
        raise DataError(
            f"{describe(spec)} {what} {reason!r}, which nothing explains",
            hint=f"add it to the `reasons` of its {type(spec).__name__}",
        )
    _explained.add(reason)


def is_damage(spec: ReaderSpec, reason: str) -> bool:
    """Whether a reason tells of what could not be read or understood, rather than of what nobody wanted."""
    return reason in _DAMAGE or reason.startswith("archive.") or reason in spec.damage


def _sentences(name: str) -> Iterator[Mapping[str, str]]:
    """What explains reasons that begin with a name: the rules and readers that are called so, or whose module is."""
    if name == "archive":
        from puna.data.input import streams

        yield streams.REASONS
    tables = ((RULES, find_rule), (READERS, find_reader))
    for own, find in tables:
        places = {known: place.partition(":")[0].rpartition(".")[2] for known, place in own.items()}
        if called := next((known for known, module in places.items() if name in (known, module)), ""):
            yield find(called).reasons
    for own, find in tables:
        if name not in own:
            with suppress(UserError):  # of a name that is not known here any more
                yield find(name).reasons
