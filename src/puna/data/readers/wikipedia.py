"""Wikipedia's XML dumps (`pages-articles`) -> articles.

The stream is cut at `<page>` and `</page>`, which occur nowhere else, since a page's text has `&lt;` for `<`; so a
broken page costs only that page, and no declaration of entities ever reaches an XML parser. A dump of one language is
read whole or in the parts in which it is published, with any compression, single stream or multistream.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO
from urllib.parse import quote

from lxml import etree

from puna.config.data import Source
from puna.data.document import EMPTY, TOO_LARGE, UNREADABLE, Document, Dropped, Lost, Raw
from puna.data.input.encodings import xml_as_utf8
from puna.data.input.streams import open_stream
from puna.data.input_file import InputFile
from puna.data.readers.wikitext import Wiki, to_text
from puna.data.readers.wikitext_gaps import Gaps
from puna.data.readers.wikitext_switches import REDIRECT as REDIRECT_WORDS
from puna.data.spec import ReaderSpec
from puna.data.text.decode import clean_text

REDIRECT = "wikipedia.redirect"
NAMESPACE = "wikipedia.namespace"
MODEL = "wikipedia.model"
HOLE, SENTENCE = "wikipedia.hole", "wikipedia.sentence"
REASONS = {
    HOLE: "A part of a remark in brackets, without the words of a template that is not known.",
    SENTENCE: "A sentence without the words of a template that is not known.",
    REDIRECT: "A page that only leads to another one.",
    NAMESPACE: "No article: a talk page, a template, a category or a page of another namespace than 0.",
    MODEL: "Its content is not wikitext but a program, a style sheet or structured data.",
}
"""A sentence for each reason of this module."""

_BLOCK = 1 << 16
_HEADER = 1 << 20
"""Most bytes before the first page."""
_RELICENSED = "2023-06-07"
"""Contributions since this date are under CC BY-SA 4.0, earlier ones under 3.0 (Wikimedia's terms of use)."""
_DIGITS = re.compile(rb"\s*([0-9]{1,18})\s*<")
_PARSER = {"resolve_entities": False, "no_network": True, "load_dtd": False, "huge_tree": True, "remove_comments": True}
_LOCAL_NAMES = re.compile(r'<namespace key="(?:-2|6|14)"[^>]*>([^<]+)<')


class WikipediaReader:
    """Articles of Wikipedia dumps."""

    def __init__(self, name: str, source: Source, limit: int) -> None:
        self._name = name
        self._limit = limit

    def records(self, file: InputFile) -> Iterator[Raw | Dropped]:
        """The articles of a dump, in its order."""
        try:
            with open_stream(file) as stream:
                yield from self._pages(file, xml_as_utf8(stream))
        except OSError as error:
            yield Dropped(self._name, file.name, getattr(error, "reason", UNREADABLE), str(error))

    def _pages(self, file: InputFile, stream: BinaryIO) -> Iterator[Raw | Dropped]:
        pages = _Pages(stream, self._limit)
        header = pages.header()
        if header is None:
            detail = pages.problem or "no <mediawiki> with a <page> at its beginning: this is not a dump of pages"
            yield Dropped(self._name, file.name, UNREADABLE, detail)
            return
        fields = _siteinfo(header)
        number = 0
        for number, page in enumerate(pages, start=1):
            yield self._page(file, number, page, fields)
        if pages.problem:
            yield Dropped(self._name, f"{file.name}#end", pages.reason, f"after {number} pages {pages.problem}")

    def _page(self, file: InputFile, number: int, page: bytes | int, fields: dict[str, str]) -> Raw | Dropped:
        if isinstance(page, int):
            detail = f"{page} bytes, at most {self._limit}"
            return Dropped(self._name, f"{file.name}#page-{number}", TOO_LARGE, detail)
        head = page[: page.find(b"<revision")] if b"<revision" in page else page
        identity, namespace = _number(head, b"<id>"), _number(head, b"<ns>")
        if not identity or not namespace:
            detail = f"page {number} has no {'<ns>' if identity else '<id>'}"
            return Dropped(self._name, f"{file.name}#page-{number}", UNREADABLE, detail)
        key = f"{file.name}#{identity}"
        if namespace != "0":
            return Dropped(self._name, key, NAMESPACE, f"namespace {namespace}")
        if b"<redirect" in head:
            return Dropped(self._name, key, REDIRECT)
        return Raw(key, page, fields)

    def document(self, raw: Raw) -> Document | Dropped:
        """The article as text, its title first."""
        try:
            page = etree.fromstring(raw.content, etree.XMLParser(**_PARSER))
        except (etree.XMLSyntaxError, ValueError) as error:
            return Dropped(self._name, raw.id, UNREADABLE, f"no valid XML: {error}")
        title = " ".join((page.findtext("title") or "").split())
        revisions = page.findall("revision")
        if not title or not revisions:
            return Dropped(self._name, raw.id, UNREADABLE, f"a page without {'revision' if title else 'title'}")
        revision = revisions[-1]
        model = (revision.findtext("model") or "wikitext").strip()
        if model != "wikitext":
            return Dropped(self._name, raw.id, MODEL, model)
        wikitext = revision.findtext("text") or ""
        if REDIRECT_WORDS.match(wikitext):
            return Dropped(self._name, raw.id, REDIRECT)
        language = raw.fields.get("language", "")
        hidden = frozenset(filter(None, raw.fields.get("hidden", "").split("|")))
        gaps = Gaps()
        text = clean_text(to_text(wikitext, title, Wiki(language, hidden), gaps))
        if not text:
            return Dropped(self._name, raw.id, EMPTY)
        date = (revision.findtext("timestamp") or "").strip()
        base, wiki = raw.fields.get("base", ""), raw.fields.get("wiki", "")
        return Document(
            source=self._name,
            id=raw.id,
            text=clean_text(f"{title}\n\n{text}"),
            origin=f"{wiki}: {title}, revision {(revision.findtext('id') or '').strip()}",
            url=f"{base}/{quote(title.replace(' ', '_'), safe=';@$!*(),/~:')}" if base else "",
            licence="CC-BY-SA-3.0" if date and date < _RELICENSED else "CC-BY-SA-4.0",
            date=date,
            language=language,
            lost=_lost(gaps),
        )


def _lost(gaps: Gaps) -> tuple[Lost, ...]:
    mended, sentences = Lost(HOLE, gaps.mended, gaps.mended_bytes), Lost(SENTENCE, gaps.sentences, gaps.bytes)
    return tuple(lost for lost in (mended, sentences) if lost.parts)


class _Pages:
    """Iterates over the pages of a dump: the bytes of each page, or only their number for a page that is too large."""

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._buffer = bytearray()
        self.problem = ""
        """What is wrong with the end of the dump; empty if nothing."""
        self.reason = UNREADABLE

    def _read(self) -> bool:
        """Read on; returns whether there was more."""
        try:
            block = self._stream.read(_BLOCK)
        except OSError as error:
            self.problem, self.reason = f"it cannot be read on: {error}", getattr(error, "reason", UNREADABLE)
            return False
        self._buffer += block
        return bool(block)

    def header(self) -> bytes | None:
        """The bytes before the first page; None if this is not a dump."""
        while (start := self._buffer.find(b"<page>")) < 0 and len(self._buffer) <= _HEADER:
            if not self._read():
                break
        header = bytes(self._buffer if start < 0 else self._buffer[:start])
        whole = start >= 0 or b"</mediawiki>" in header
        return header if b"<mediawiki" in header and whole else None

    def __iter__(self) -> Iterator[bytes | int]:
        while self._skip_to(b"<page>"):
            page = self._take_to(b"</page>")
            if page is None:
                self.problem = self.problem or "it ends inside a page"
                return
            yield page
        if not self.problem and b"</mediawiki>" not in self._buffer:
            self.problem = "it ends without </mediawiki>"

    def _skip_to(self, mark: bytes) -> bool:
        """Whether the mark is found by reading on; the buffer then begins with it, or else holds the last bytes."""
        while (start := self._buffer.find(mark)) < 0:
            del self._buffer[:-64]
            if not self._read():
                return False
        del self._buffer[:start]
        return True

    def _take_to(self, mark: bytes) -> bytes | int | None:
        """The bytes up to the mark and including it, or their number if they are too many; None if there is no mark."""
        gone = start = 0
        while (end := self._buffer.find(mark, start)) < 0:
            if len(self._buffer) > self._limit:
                gone += len(self._buffer) - len(mark)
                del self._buffer[: -len(mark)]
            start = max(0, len(self._buffer) - len(mark))
            if not self._read():
                return None
        end += len(mark)
        size = gone + end
        taken = bytes(self._buffer[:end]) if size <= self._limit else size
        del self._buffer[:end]
        return taken


def _number(head: bytes, mark: bytes) -> str:
    """The digits after a tag, or none."""
    start = head.find(mark)
    match = _DIGITS.match(head, start + len(mark)) if start >= 0 else None
    return match[1].decode() if match else ""


def _siteinfo(header: bytes) -> dict[str, str]:
    """The dump's description of its Wikipedia, as fields of its records."""
    text = header.decode("utf-8", "replace")
    wiki = re.search(r"<dbname>\s*([^<\s]+)", text)
    stated = re.search(r'<mediawiki[^<>]*\sxml:lang="([^"]+)"', text)
    base = re.search(r"<base>([^<]*)", text)
    name = wiki[1] if wiki else ""
    return {
        "wiki": name or "Wikipedia",
        "language": (stated[1] if stated else name.removesuffix("wiki").replace("_", "-")).lower(),
        "base": base[1].strip().rpartition("/")[0] if base else "",
        "hidden": "|".join(name.strip().lower() for name in _LOCAL_NAMES.findall(text)),
    }


READER = ReaderSpec(
    name="wikipedia",
    make=WikipediaReader,
    reads="XML dumps `pages-articles`",
    reasons=REASONS,
)
