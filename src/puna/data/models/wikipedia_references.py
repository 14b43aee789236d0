"""The addresses of pages that Wikipedia refers to, from an XML dump of its articles.

A reference is the text between `<ref>` and `</ref>`, or a template with a name that begins with `cite` or `citation`. A
copy in a web archive is listed as the original page, if its address names it; Wikimedia's own pages are left out. Each
address is given once for all dumps, without `#` and the part after it: addresses go into 64 temporary files by their
hash, and one file is in memory at a time.
"""

import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit
from zlib import crc32

from lxml import etree

from puna.core.errors import DataError
from puna.data.models.texts import open_local

_PARTITIONS = 64

_REFERENCE = re.compile(r"<ref(?=[\s>])", re.IGNORECASE)
_REFERENCE_END = re.compile(r"</ref\s*>", re.IGNORECASE)
_CITATION = re.compile(r"\{\{\s*(?:cite|citation)\b((?:[^{}]++|\{\{[^{}]*+\}\})*+)\}\}", re.IGNORECASE)
_ADDRESS = re.compile(r"""https?://[^\s<>\[\]{}|"\x00-\x1f]+""", re.IGNORECASE)
_ARCHIVE = re.compile(
    r"https?://(?:web\.archive\.org/(?:web/)?[0-9*a-z_]+/|(?:www\.)?webcitation\.org/.*?[?&]url=)", re.IGNORECASE
)
_LEFT_OUT = re.compile(
    r"(?:^|\.)(?:webcitation|mediawiki|wikidata|wiktionary|wiki(?:pedia|media|source|news|books|quote|voyage))\.org$"
)


def wikipedia_references(dumps: Iterable[Path]) -> Iterator[str]:
    """The addresses that the articles of XML dumps, compressed or not, refer to, each once.

    Their order depends on the dumps only.

    Raises:
        DataError: A dump cannot be read, or is not XML.
    """
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        paths = [Path(name) / str(number) for number in range(_PARTITIONS)]
        files = [stack.enter_context(path.open("w+b")) for path in paths]
        for dump in dumps:
            for text in _texts(dump):
                for address in references(text):
                    line = address.encode("utf-8", "replace")
                    files[crc32(line) % _PARTITIONS].write(line + b"\n")
        for file in files:
            file.seek(0)
            for line in dict.fromkeys(file):
                yield line[:-1].decode()


def references(wikitext: str) -> Iterator[str]:
    """The addresses in the references of an article, unchanged, some more than once."""
    for passage in _passages(wikitext):
        for address in _ADDRESS.findall(passage):
            if found := _clean(address):
                yield found


def _passages(wikitext: str) -> Iterator[str]:
    """The texts of references, then the texts of citations: citations in references come twice."""
    for piece in _REFERENCE.split(wikitext)[1:]:
        tag, _, rest = piece.partition(">")
        if not tag.endswith("/") and (end := _REFERENCE_END.search(rest)):
            yield rest[: end.start()]
    for citation in _CITATION.finditer(wikitext):
        yield citation[1]


def _clean(address: str) -> str:
    """An address as MediaWiki links it: without punctuation at its end and without an archive before it."""
    address = re.split("''|#", address, maxsplit=1)[0].replace("&amp;", "&")
    if archived := _ARCHIVE.match(address):
        address = address[archived.end() :]
        if not _ADDRESS.match(address):
            address = f"http://{address}" if re.match(r"[\w-]+\.\w", address) else ""
    address = address.rstrip(",;.:!?'" if "(" in address else ",;.:!?')")
    try:
        host = urlsplit(address).hostname or ""
    except ValueError:
        return ""
    return address if "." in host and not _LEFT_OUT.search(host) else ""


def _texts(dump: Path) -> Iterator[str]:
    """The wikitext of each page of a dump."""
    with open_local(dump) as stream:
        try:
            yield from _page_texts(stream)
        except OSError as error:
            raise DataError(f"{dump}: cannot be read to its end ({error.strerror or error})") from None
        except etree.XMLSyntaxError as error:
            raise DataError(f"{dump}: is not an XML dump of Wikipedia ({error.msg})") from None


def _page_texts(stream: BinaryIO) -> Iterator[str]:
    events = etree.iterparse(
        stream, events=("end",), tag=("{*}text", "{*}page"), huge_tree=True, resolve_entities=False
    )
    for _, element in events:
        if etree.QName(element).localname == "text":
            yield element.text or ""
            continue
        # Elements that are done would be kept to the end of the dump.
        element.clear()
        while element.getprevious() is not None:
            del element.getparent()[0]
