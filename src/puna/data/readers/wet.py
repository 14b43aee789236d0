"""WET files: the text that Common Crawl itself extracts from its pages, including menus and other boilerplate."""

from collections.abc import Iterator

from puna.config.data import Source
from puna.data.document import EMPTY, Document, Dropped, Raw
from puna.data.input_file import InputFile
from puna.data.readers.warc_records import NoRecord, warc_records
from puna.data.spec import ReaderSpec
from puna.data.text.decode import clean_text


class WetReader:
    """Conversion records; their text is UTF-8, and bytes that are not UTF-8 become U+FFFD.

    Args:
        name: The source's name.
        source: Its settings.
        limit: Most bytes of a record.
    """

    def __init__(self, name: str, source: Source, limit: int) -> None:
        self._source = name
        self._limit = limit

    def records(self, file: InputFile) -> Iterator[Raw | Dropped]:
        """The conversion records of a file."""
        for record in warc_records(file, self._limit, _wanted):
            if isinstance(record, NoRecord):
                yield Dropped(self._source, record.id, record.reason, record.detail)
            else:
                url, date = (record.headers.get(name, "").strip("<> ") for name in ("warc-target-uri", "warc-date"))
                yield Raw(record.id, record.content, {"url": url, "date": date})

    def document(self, raw: Raw) -> Document | Dropped:
        """The text of a record."""
        text = clean_text(raw.content.decode("utf-8-sig", "replace"))
        if not text:
            return Dropped(self._source, raw.id, EMPTY)
        fields = raw.fields
        return Document(self._source, raw.id, text, raw.id, url=fields.get("url", ""), date=fields.get("date", ""))


def _wanted(headers: dict[str, str]) -> bool:
    return headers.get("warc-type", "").lower() == "conversion"


READER = ReaderSpec(
    name="wet",
    make=WetReader,
    reads="web pages as text, as CommonCrawl extracts it; CCNet starts here",
)
