r"""Files that are one document each: plain, compressed or in archives.

A byte order mark is removed and line ends become `\n`; invisible characters are text only where their script needs them
(`puna.data.text.invisible`), except in files with a name of source code. Nothing else is changed.
"""

from collections.abc import Iterator

from puna.config.data import Source
from puna.data.document import BINARY, EMPTY, INVALID_UTF8, Document, Dropped, Raw
from puna.data.input.streams import Member, members
from puna.data.input_file import InputFile
from puna.data.spec import ReaderSpec
from puna.data.text.code_languages import language_of
from puna.data.text.decode import marked_encoding, newlines
from puna.data.text.invisible import undirected_text, visible_text

_CONTROLS = bytes(sorted({*range(32), 127} - {*b"\b\t\n\v\f\r\x1b"}))
"""Control characters that are rare in text; logs of terminals have backspaces and escapes."""


class TextReader:
    """UTF-8, and with a byte order mark UTF-16 and UTF-32.

    Args:
        name: The source's name.
        source: Its settings.
        limit: Most bytes of a file.
    """

    def __init__(self, name: str, source: Source, limit: int) -> None:
        self._source = name
        self._limit = limit

    def records(self, file: InputFile) -> Iterator[Raw | Dropped]:
        """The file, or those inside it."""
        for member in members(file, self._limit):
            if isinstance(member, Member):
                yield Raw(member.name, member.content)
            else:
                yield Dropped(self._source, member.name, member.reason, member.detail)

    def document(self, raw: Raw) -> Document | Dropped:
        """The text of a file."""
        encoding, content = marked_encoding(raw.content), raw.content
        if encoding in ("utf-16", "utf-32"):
            try:
                content = content.decode(encoding).encode()
            except UnicodeError as error:
                return Dropped(self._source, raw.id, INVALID_UTF8, f"{encoding}: {error}")
        if is_binary(content):
            return Dropped(self._source, raw.id, BINARY)
        try:
            text = newlines(content.decode("utf-8-sig"))
        except UnicodeDecodeError:
            return Dropped(self._source, raw.id, INVALID_UTF8)
        text = (undirected_text if language_of(raw.id) else visible_text)(text)
        if not text.strip():
            return Dropped(self._source, raw.id, EMPTY)
        return Document(self._source, raw.id, text, raw.id)


def is_binary(content: bytes) -> bool:
    """Whether bytes hold a NUL or are control characters by more than a tenth."""
    return b"\0" in content or len(content) - len(content.translate(None, _CONTROLS)) > len(content) // 10


READER = ReaderSpec(
    name="text",
    make=TextReader,
    reads="each file, or member of an archive, is one document",
)
