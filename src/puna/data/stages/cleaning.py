"""The reader and the rules of a source, put together from the recipe, with every verdict counted."""

from pathlib import Path
from typing import Any

from puna.config.data import DataConfig, Source
from puna.config.rules import RuleName
from puna.core.errors import UserError
from puna.data.document import INVALID_UTF8, READER_FAILED, RULE_FAILED, Document, Dropped, Raw, Reader, Rule
from puna.data.tasks.counts import READ, Counts, add_verdict


def make_reader(name: str, source: Source, limit: int) -> Reader:
    """The reader of a source's format; its libraries are imported now."""
    match source.format:
        case "text":
            from puna.data.readers.text import TextReader

            return TextReader(name, source, limit)
        case "jsonl" | "parquet" | "arrow":
            from puna.data.readers.rows import RowsReader

            return RowsReader(name, source, limit)
        case "warc":
            from puna.data.readers.warc import WarcReader

            return WarcReader(name, source, limit)
        case "wet":
            from puna.data.readers.wet import WetReader

            return WetReader(name, source, limit)
        case "code":
            from puna.data.readers.code import CodeReader

            return CodeReader(name, source, limit)
        case "wikipedia":
            from puna.data.readers.wikipedia import WikipediaReader

            return WikipediaReader(name, source, limit)
        case "gutenberg":
            from puna.data.readers.gutenberg import GutenbergReader

            return GutenbergReader(name, source, limit)
        case "arxiv":
            from puna.data.readers.arxiv import ArxivReader

            return ArxivReader(name, source, limit)
        case "stackexchange":
            from puna.data.readers.stackexchange import StackExchangeReader

            return StackExchangeReader(name, source, limit)


def make_rule(name: RuleName, data: DataConfig, table: Path | None) -> Rule:
    """A rule for one document at a time; `lines` needs all documents and is a stage of its own.

    Args:
        name: The name in `clean`.
        data: The thresholds.
        table: The directory of the table of evaluation sets, for the rule `decontaminate`.
    """
    rules = data.rules
    match name:
        case "language":
            from puna.data.rules.language import Language

            return Language(rules.language)
        case "perplexity":
            from puna.data.rules.perplexity import Perplexity

            return Perplexity(rules.perplexity)
        case "wikipedia-like":
            from puna.data.rules.wikipedia_like import WikipediaLike

            return WikipediaLike(rules.wikipedia_like)
        case "gopher-quality":
            from puna.data.rules.gopher_quality import GopherQuality

            return GopherQuality(rules.gopher_quality)
        case "gopher-repetition":
            from puna.data.rules.gopher_repetition import GopherRepetition

            return GopherRepetition(rules.gopher_repetition)
        case "c4":
            from puna.data.rules.c4 import C4

            return C4(rules.c4)
        case "code":
            from puna.data.rules.code import Code

            return Code(rules.code)
        case "pii":
            from puna.data.rules.pii import Pii

            return Pii(rules.pii)
        case "decontaminate":
            from puna.data.rules.decontaminate import Decontaminate

            return Decontaminate(rules.decontaminate, table)
        case "lines":
            raise ValueError("the rule 'lines' compares all documents of a source")


class Chain:
    """Applies rules one after the other, and counts what each keeps and drops."""

    def __init__(self, names: list[RuleName], data: DataConfig, table: Path | None) -> None:
        self._rules = [(name, make_rule(name, data, table)) for name in names]

    def __call__(self, document: Document, counts: Counts) -> Document | Dropped:
        """The document after the last rule, or the first verdict against it."""
        for name, rule in self._rules:
            try:
                verdict = rule(document)
            except (MemoryError, ImportError, UserError):
                raise
            except Exception as error:
                verdict = Dropped(document.source, document.id, RULE_FAILED, _defect(f"{name}: ", error), document.text)
            add_verdict(counts, name, verdict)
            if isinstance(verdict, Dropped):
                return verdict
            document = verdict
        return document

    def reports(self) -> list[dict[str, Any]]:
        """Reports of the rules since the last call, which they make besides their verdicts."""
        return [row for _, rule in self._rules if hasattr(rule, "report") for row in rule.report()]


def read_one(reader: Reader, raw: Raw | Dropped, source: str, counts: Counts) -> Document | Dropped:
    """The document of a record, counted; a record that the reader cannot handle is dropped, and the build goes on."""
    if isinstance(raw, Raw):
        try:
            verdict = reader.document(raw)
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


def _defect(where: str, error: Exception) -> str:
    return f"{where}{type(error).__name__}: {error}"[:500]


def _is_unicode(document: Document) -> bool:
    """Whether a document can be written: no field may have a surrogate."""
    try:
        for value in (document.id, document.text, document.url, document.licence, document.date, document.language):
            value.encode()
    except UnicodeEncodeError:
        return False
    return True
