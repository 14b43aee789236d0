"""The reader and the rules of a source, put together from the recipe, with every verdict counted."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from puna.config.data import DataConfig, Source
from puna.core.errors import UserError
from puna.data.document import INVALID_UTF8, READER_FAILED, RULE_FAILED, Document, Dropped, Raw, Reader, Rule
from puna.data.reasons import check_reason
from puna.data.spec import ReaderSpec, RuleSpec
from puna.data.stages.turns import apply_rule
from puna.data.table import DECONTAMINATE, find_reader, find_rule, make, rule_settings
from puna.data.tasks.counts import READ, Counts, add_lost, add_verdict


def make_reader(name: str, source: Source, limit: int) -> Reader:
    """The reader of a source's format; its libraries are imported now.

    Raises:
        UserError: It is that of a plug-in that is not installed or not valid.
    """
    return make(find_reader(source.format), name, source, limit)


def make_rule(name: str, data: DataConfig, table: Path | None) -> Rule:
    """A rule for one document at a time; `lines` needs all documents and is a stage of its own.

    Args:
        name: The name in `clean`.
        data: The thresholds.
        table: The directory of the table of evaluation sets, for the rule `decontaminate`.

    Raises:
        UserError: It is that of a plug-in that is not installed or not valid, or what it needs is missing.
    """
    if name == DECONTAMINATE and table:
        from puna.data.rules.decontaminate import Decontaminate

        return Decontaminate(data.rules.decontaminate, table)
    return make(find_rule(name), rule_settings(data, name))


class Chain:
    """Applies rules one after the other, and counts what each keeps and drops."""

    def __init__(self, names: list[str], data: DataConfig, table: Path | None) -> None:
        self._rules = [(find_rule(name), make_rule(name, data, table)) for name in names]

    def __call__(self, document: Document, counts: Counts) -> Document | Dropped:
        """The document after the last rule, or the first verdict against it.

        Raises:
            DataError: A rule of a plug-in drops it for a reason that no sentence explains, or changes the text of a
                conversation, whose turns would then say something else.
        """
        for spec, rule in self._rules:
            try:
                verdict = _verdict(apply_rule(spec, rule, document))
            except (MemoryError, ImportError, UserError):
                raise
            except Exception as error:
                verdict = Dropped(
                    document.source, document.id, RULE_FAILED, _defect(f"{spec.name}: ", error), document.text
                )
            add_verdict(counts, spec.name, verdict)
            if isinstance(verdict, Dropped):
                check_reason(spec, verdict)
                return verdict
            document = without_lost(spec, verdict, counts)
        return document

    def reports(self) -> list[dict[str, Any]]:
        """Reports of the rules since the last call, which they make besides their verdicts."""
        return [row for _, rule in self._rules if hasattr(rule, "report") for row in rule.report()]


def read_one(reader: Reader, raw: Raw | Dropped, source: str, counts: Counts) -> Document | Dropped:
    """The document of a record, counted; a record that the reader cannot handle is dropped, and the build goes on."""
    if isinstance(raw, Raw):
        try:
            verdict = _verdict(reader.document(raw))
            if isinstance(verdict, Document) and not _is_unicode(verdict):
                verdict = Dropped(source, raw.id, INVALID_UTF8)
        except (MemoryError, ImportError):
            raise
        except Exception as error:
            verdict = Dropped(source, raw.id, READER_FAILED, _defect("", error))
    else:
        verdict = raw
    add_verdict(counts, READ, verdict)
    return verdict


def without_lost(spec: RuleSpec | ReaderSpec, document: Document, counts: Counts) -> Document:
    """The document, after what its reader or rule has left out of it is counted.

    Raises:
        DataError: No sentence explains a kind of loss.
    """
    if not document.lost:
        return document
    for lost in document.lost:
        check_reason(spec, lost)
    add_lost(counts, document.lost, documents=1)
    return replace(document, lost=())


def _verdict(verdict: Document | Dropped) -> Document | Dropped:
    """What a rule or reader has returned.

    Raises:
        TypeError: It is something else, of a plug-in that nobody has type-checked.
    """
    if not isinstance(verdict, Document | Dropped):
        raise TypeError(f"returned {type(verdict).__name__}, which is neither a Document nor a Dropped")
    return verdict


def _defect(where: str, error: Exception) -> str:
    return f"{where}{type(error).__name__}: {error}"[:500]


def _is_unicode(document: Document) -> bool:
    """Whether a document can be written: no field may have a surrogate."""
    try:
        values = (document.id, document.text, document.url, document.licence, document.date, document.language)
        for value in (*values, document.licence_from):
            value.encode()
    except UnicodeEncodeError:
        return False
    return True
