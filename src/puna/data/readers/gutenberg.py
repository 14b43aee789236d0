"""Project Gutenberg's plain text books, without the header before and the licence after the book.

`puna.data.readers.gutenberg_layout` knows the layouts since 1991. Lines stay as in the file, since verse and tables
depend on them (as in PG-19, Rae et al. 2020). A text without any mark stays unchanged. LLaMA's other source of books,
Books3, is not offered: its books are under copyright.
"""

import codecs
import posixpath
import re
from collections.abc import Iterator

from puna.config.data import Source
from puna.data.document import BINARY, EMPTY, Document, Dropped, Raw
from puna.data.input.streams import BrokenMember, members
from puna.data.input_file import InputFile
from puna.data.readers.gutenberg_layout import MOST_CUT, split_book
from puna.data.readers.gutenberg_marks import HEADER_LENGTH
from puna.data.spec import ReaderSpec
from puna.data.text.decode import clean_text, marked_encoding, nearly_utf8, western

COPYRIGHTED, NOT_TEXT, UNSURE = "gutenberg.copyrighted", "gutenberg.not_text", "gutenberg.unsure"

REASONS = {
    COPYRIGHTED: "Its header says that the book is under copyright (Project Gutenberg Licence, section 1.E.3).",
    UNSURE: f"More than {MOST_CUT:,} characters in one piece look like header or licence, which are never so long.",
    NOT_TEXT: "By its name it is HTML, an image or a book in another format than plain text.",
}

PUBLIC_DOMAIN = "public domain in the USA"
"""The licence that Project Gutenberg's header grants."""

_OTHER_FORMATS = {
    ".css", ".csv", ".doc", ".epub", ".gif", ".htm", ".html", ".jpeg", ".jpg", ".js", ".json", ".mid", ".mobi", ".mp3",
    ".ncx", ".ogg", ".opf", ".pdf", ".png", ".prc", ".ps", ".rdf", ".rtf", ".svg", ".tei", ".tex", ".xhtml", ".xml",
}  # fmt: skip
_FIELD = re.compile(
    r"^[ \t]*(Title|Author|Language|Release Date|Posting Date|Character set encoding|Date)[ \t]*:[ \t]*([^\n]*)",
    re.MULTILINE | re.IGNORECASE,
)
_NUMBER = re.compile(r"\[\s*(?:e-?book|e-?text)\s*#\s*(\d+)\s*\]", re.IGNORECASE)
_DECLARED = re.compile(rb"^Character set encoding:[ \t]*([A-Za-z0-9_ -]+)", re.MULTILINE | re.IGNORECASE)
_COPYRIGHTED = re.compile(
    r"COPYRIGHTED PROJECT GUTENBERG|PRINT!\**\s*FOR COPYRIGHT(?:ED| PROTECTED) E-?(?:TEXT|BOOK)S", re.IGNORECASE
)
_DATE = re.compile(
    r"(?P<iso>\d{4}-\d\d-\d\d)|(?P<month>[A-Z][a-z]+)\.?,?\s+(?:(?P<day>[0-3]?\d),\s*)?(?P<year>(?:19|20)\d\d)\b"
)
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_LANGUAGES = {
    "afrikaans": "af", "arabic": "ar", "bulgarian": "bg", "catalan": "ca", "cebuano": "ceb", "chinese": "zh",
    "czech": "cs", "danish": "da", "dutch": "nl", "english": "en", "esperanto": "eo", "estonian": "et",
    "farsi": "fa", "finnish": "fi", "french": "fr", "frisian": "fy", "gaelic": "gd", "galician": "gl",
    "german": "de", "greek": "el", "hebrew": "he", "hungarian": "hu", "icelandic": "is", "interlingua": "ia",
    "irish": "ga", "italian": "it", "japanese": "ja", "korean": "ko", "latin": "la", "lithuanian": "lt",
    "norwegian": "no", "occitan": "oc", "ojibwa": "oj", "polish": "pl", "portuguese": "pt", "romanian": "ro",
    "russian": "ru", "sanskrit": "sa", "scots": "sco", "serbian": "sr", "slovenian": "sl", "spanish": "es",
    "swedish": "sv", "tagalog": "tl", "welsh": "cy", "yiddish": "yi",
}  # fmt: skip


class GutenbergReader:
    """Books from Project Gutenberg's files, plain, compressed or in archives.

    Args:
        name: The source's name.
        source: Its section of the recipe.
        limit: Most bytes of a book.
    """

    def __init__(self, name: str, source: Source, limit: int) -> None:
        self._name = name
        self._limit = limit

    def records(self, file: InputFile) -> Iterator[Raw | Dropped]:
        """The texts in a file."""
        for member in members(file, self._limit):
            inside = member.name[len(file.name) + 1 :]
            identity = f"{file.name}#{inside}" if inside else file.name
            if isinstance(member, BrokenMember):
                yield Dropped(self._name, identity, member.reason, member.detail)
            elif (ending := posixpath.splitext(member.name.lower())[1]) in _OTHER_FORMATS:
                yield Dropped(self._name, identity, NOT_TEXT, ending)
            else:
                yield Raw(identity, member.content)

    def document(self, raw: Raw) -> Document | Dropped:
        """The book without Project Gutenberg's header and licence."""
        text = _decoded(raw.content)
        if "\0" in text:
            return Dropped(self._name, raw.id, BINARY)
        text = clean_text(text)
        split = split_book(text)
        header, book = split.header, split.book
        fields = {match[1].lower(): match[2].strip() for match in reversed(list(_FIELD.finditer(header)))}
        if _COPYRIGHTED.search(" ".join(split.cut.split())):
            return Dropped(self._name, raw.id, COPYRIGHTED, fields.get("title", ""), book)
        if split.doubt:
            return Dropped(self._name, raw.id, UNSURE, split.doubt, book)
        if not book:
            return Dropped(self._name, raw.id, EMPTY, "nothing between header and licence" if header else "")
        number = _NUMBER.search(header)
        about = ", ".join(fields[field] for field in ("title", "author") if fields.get(field))
        return Document(
            self._name,
            raw.id,
            book,
            f"{about} ({raw.id})" if about else raw.id,
            url=f"https://www.gutenberg.org/ebooks/{number[1]}" if number else "",
            licence=PUBLIC_DOMAIN if header else "",
            date=_date(fields),
            language=_language(fields.get("language", "")),
        )


def _decoded(content: bytes) -> str:
    """UTF-8 or the encoding of a byte order mark, else what the header declares, else nearly UTF-8 or Windows-1252."""
    declared = _DECLARED.search(content[:HEADER_LENGTH])
    for encoding in (marked_encoding(content) or "utf-8", declared[1].decode().strip() if declared else ""):
        try:
            if encoding and codecs.lookup(encoding)._is_text_encoding:
                return content.decode(encoding)
        except (UnicodeError, LookupError, ValueError):
            continue
    return nearly_utf8(content) or western(content)


def _language(names: str) -> str:
    """The code of the first language that a header names; empty if it is unknown."""
    first = re.split(r",|;|/|\band\b|\(", names.lower())[0].strip()
    if first in _LANGUAGES.values():
        return first
    return next((_LANGUAGES[word] for word in first.split() if word in _LANGUAGES), "")


def _date(fields: dict[str, str]) -> str:
    """When Project Gutenberg released the book, as precise as the header: a day, a month or empty."""
    for name in ("release date", "posting date", "date"):
        match = _DATE.match(fields.get(name, ""))
        if match and match["iso"]:
            return match["iso"]
        if match and (month := match["month"][:3].lower()) in _MONTHS:
            day = f"-{int(match['day']):02}" if match["day"] else ""
            return f"{match['year']}-{_MONTHS.index(month) + 1:02}{day}"
    return ""


READER = ReaderSpec(
    name="gutenberg",
    make=GutenbergReader,
    reads="books with Project Gutenberg's header and licence, which are cut off",
    reasons=REASONS,
)
