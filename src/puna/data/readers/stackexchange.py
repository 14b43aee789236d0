"""Stack Exchange's dumps (`Posts.xml`, one per site) -> a document per question, with its answers.

LLaMA (section 2.1) takes the 28 largest sites, removes HTML and sorts answers by score, from highest to lowest. A
document reads

    Q: title

    the question

    A: the best answer

    A: the next one

Scores are compared as numbers; of equal ones the older answer comes first. A question without answers is a document
too: the paper does not mention them, RedPajama keeps them, and a rule on length can drop them.

The files may be compressed, but the 7z archives in which the dumps are published are not read: unpack them first.

The stream is cut at each `<`, which no attribute holds, so a broken row costs that row and no more, and no declaration
of entities ever reaches an XML parser. Questions and answers that do not fit into memory are joined on the disk, by
ranges of question ids: memory is bounded for a site of any size, and the order is always that of the ids.
"""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from xml.parsers import expat

import orjson

from puna.config.data import Source
from puna.core.files import storage_errors
from puna.data.document import EMPTY, TOO_LARGE, UNREADABLE, Document, Dropped, Raw
from puna.data.input.encodings import xml_as_utf8
from puna.data.input.streams import open_stream
from puna.data.input_file import InputFile
from puna.data.readers.post_html import post_text
from puna.data.readers.range_join import Order, RangeJoin
from puna.data.spec import ReaderSpec
from puna.data.text.decode import clean_text

ORPHAN = "stackexchange.orphan_answer"
OTHER = "stackexchange.other_post"
BROKEN = "stackexchange.broken_row"
REASONS = {
    ORPHAN: "An answer to a question that the dump does not hold.",
    OTHER: "Neither a question nor an answer: a tag's description, a moderator's note and the like.",
    BROKEN: "A row that is not valid XML, or lacks its Id, Score or Body, or repeats another.",
}
"""A sentence for each reason of this module."""

_BLOCK = 1 << 16
_QUESTION, _ANSWER = 1, 2
_MOST = 1 << 31
"""Ids are 32-bit integers."""
_DOMAIN = re.compile(r"(?:[a-z0-9-]+\.)+(?:com|net)")
_OWN_DOMAINS = {
    "stackoverflow": "stackoverflow.com", "serverfault": "serverfault.com", "superuser": "superuser.com",
    "askubuntu": "askubuntu.com", "mathoverflow": "mathoverflow.net", "stackapps": "stackapps.com",
}  # fmt: skip


class StackExchangeReader:
    """Questions with their answers."""

    def __init__(self, name: str, source: Source, limit: int) -> None:
        self._name = name
        self._limit = limit

    def records(self, file: InputFile) -> Iterator[Raw | Dropped]:
        """The questions of a site in the order of their ids, each with its answers; rows that are neither come first.

        Raises:
            StorageError: The disk of temporary files is full.
        """
        try:
            stream = open_stream(file)
        except OSError as error:
            yield Dropped(self._name, file.name, getattr(error, "reason", UNREADABLE), str(error))
            return
        with stream:
            try:
                decoded = xml_as_utf8(stream)
            except OSError as error:
                yield Dropped(self._name, file.name, getattr(error, "reason", UNREADABLE), str(error))
                return
            yield from self._joined(file, decoded)

    def _joined(self, file: InputFile, stream: BinaryIO) -> Iterator[Raw | Dropped]:
        with tempfile.TemporaryDirectory(prefix="puna-") as name, storage_errors(Path(name)):
            join = RangeJoin(Path(name), self._limit)
            yield from self._rows(file, stream, join)
            site = site_of(file)
            for question, rows in join.groups():
                yield from self._thread(file, site, question, rows)

    def _rows(self, file: InputFile, stream: BinaryIO, join: RangeJoin) -> Iterator[Dropped]:
        """Put questions and answers into the join; yields the rows that are neither."""
        tags = _Tags(stream, self._limit)
        number = 0
        for tag in tags:
            if isinstance(tag, bytes) and not tag.startswith((b"<row ", b"<row\t", b"<row\r", b"<row\n")):
                continue
            number += 1
            dropped = self._row(f"{file.name}#row-{number}", tag, join)
            if dropped:
                yield dropped
        if tags.problem:
            yield Dropped(self._name, f"{file.name}#end", tags.reason, f"after {number} rows {tags.problem}")

    def _row(self, place: str, tag: bytes | int, join: RangeJoin) -> Dropped | None:
        if isinstance(tag, int):
            return Dropped(self._name, place, TOO_LARGE, f"{tag} bytes, at most {self._limit}")
        try:
            row = _attributes(tag)
        except expat.ExpatError as error:
            return Dropped(self._name, place, BROKEN, f"no valid XML: {error}")
        kind = row.get("PostTypeId")
        if kind not in ("1", "2"):
            return Dropped(self._name, place, OTHER if kind else BROKEN, f"PostTypeId {kind or 'missing'}")
        numbers = [_number(row.get(name, "")) for name in ("Id", "Score", "Id" if kind == "1" else "ParentId")]
        identity, score, question = numbers
        if identity is None or score is None or question is None or min(identity, question) < 0 or "Body" not in row:
            names = ("Id", "Score", "ParentId", "Body") if kind == "2" else ("Id", "Score", "Body")
            found = ", ".join(f"{name} {row.get(name, 'missing')[:40]!r}" for name in names)
            return Dropped(self._name, place, BROKEN, found)
        fields = [row.get(name, "") for name in ("Title", "Body", "CreationDate", "ContentLicense")]
        join.add(question, (int(kind), -score, identity), orjson.dumps(fields))
        return None

    def _thread(
        self, file: InputFile, site: str, question: int, rows: list[tuple[Order, bytes]] | int
    ) -> Iterator[Raw | Dropped]:
        """A question with its answers, and the rows that are dropped."""
        key = f"{file.name}#{question}"
        size = rows if isinstance(rows, int) else sum(len(row) + 1 for _, row in rows)
        if isinstance(rows, int) or size > self._limit:
            yield Dropped(self._name, key, TOO_LARGE, f"{size} bytes with its answers, at most {self._limit}")
            return
        kept: dict[int, bytes] = {}
        for number, ((kind, _, identity), row) in enumerate(rows):
            post = f"{file.name}#{identity}"
            if identity in kept:
                yield Dropped(self._name, f"{post}@{number}", BROKEN, f"Id {identity} occurs twice")
            elif kind == _QUESTION or question in kept:
                kept[identity] = row
            else:
                yield Dropped(
                    self._name, f"{post}@{number}" if identity == question else post, ORPHAN, f"ParentId {question}"
                )
        if kept:
            yield Raw(key, b"\n".join(kept.values()), {"site": site, "question": str(question)})

    def document(self, raw: Raw) -> Document | Dropped:
        """The question and its answers as text."""
        try:
            posts = [_post(orjson.loads(line)) for line in raw.content.split(b"\n")]
        except ValueError as error:
            return Dropped(self._name, raw.id, BROKEN, str(error))
        title, body, date, _ = posts[0]
        question = "\n\n".join(filter(None, (" ".join(title.split()), post_text(body))))
        answers = [post_text(answer[1]) for answer in posts[1:]]
        parts = [f"Q: {question}" if question else "", *(f"A: {answer}" for answer in answers if answer)]
        text = clean_text("\n\n".join(filter(None, parts)))
        if not text:
            return Dropped(self._name, raw.id, EMPTY)
        site, number = raw.fields.get("site", ""), raw.fields.get("question", "")
        return Document(
            source=self._name,
            id=raw.id,
            text=text,
            origin=f"{site or raw.id.partition('#')[0]}: question {number}",
            url=f"https://{site}/questions/{number}" if site else "",
            licence=", ".join(sorted({post[3].strip().replace(" ", "-") for post in posts if post[3].strip()})),
            date=date,
        )


class _Tags:
    """Iterates over the tags of a stream, each with the text after it; for one that is too large, only its size."""

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._open = self._closed = False
        self.problem = ""
        """What is wrong with the end of the file; empty if nothing."""
        self.reason = UNREADABLE

    def __iter__(self) -> Iterator[bytes | int]:
        parts, size = [b""], 0
        for block in self._blocks():
            first, *others = block.split(b"<")
            size += len(first)
            parts = [*parts, first] if size <= self._limit else [parts[0][:16]]
            for other in others:
                yield from self._tag(parts, size)
                if self.problem:
                    return
                parts, size = [b"<" + other], len(other) + 1
        if size > self._limit or parts[-1].rstrip().endswith(b">"):
            yield from self._tag(parts, size)
        elif self._open and not self._closed:
            self.problem = self.problem or "it ends inside a row"
        if not self._open:
            self.problem = self.problem or "there is no <posts>: this is not a Posts.xml"
        elif not self._closed:
            self.problem = self.problem or "it ends without </posts>"

    def _blocks(self) -> Iterator[bytes]:
        try:
            while block := self._stream.read(_BLOCK):
                yield block
        except OSError as error:
            self.problem, self.reason = f"it cannot be read on: {error}", getattr(error, "reason", UNREADABLE)

    def _tag(self, parts: list[bytes], size: int) -> Iterator[bytes | int]:
        tag = b"".join(parts)
        if self._open:
            self._closed = self._closed or tag.startswith(b"</posts")
            yield tag if size <= self._limit else size
        elif tag.startswith(b"<posts"):
            self._open = True
        elif tag.startswith(b"<") and tag[1:2] not in (b"?", b"!"):
            name = tag[:20].decode("utf-8", "replace").split()[0]
            self.problem = f"its first element is {name}, not <posts>: this is not a Posts.xml"


def _attributes(tag: bytes) -> dict[str, str]:
    """The attributes of a tag.

    Raises:
        ExpatError: It is not valid XML.
    """
    found: dict[str, str] = {}
    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler = lambda name, attributes: found.update(attributes)
    tag = tag.rstrip()
    parser.Parse(tag if tag.endswith(b"/>") else tag + b"</row>", True)
    return found


def _number(text: str) -> int | None:
    """An integer of 32 bits, as the dump writes it."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 10):
        return None
    number = int(text)
    return number if -_MOST <= number < _MOST else None


def _post(fields: object) -> list[str]:
    """A row as `records` has written it.

    Raises:
        ValueError: It is something else.
    """
    if not (isinstance(fields, list) and len(fields) == 4 and all(isinstance(field, str) for field in fields)):
        raise ValueError("a row does not hold a title, a body, a date and a licence")
    return fields


def site_of(file: InputFile) -> str:
    """The domain of the site of a file's posts, from its name or its directory; empty if neither has it.

    `datascience.meta_Posts.xml.gz` and `datascience.meta.stackexchange.com/Posts.xml` both give
    `datascience.meta.stackexchange.com`.
    """
    path = PurePosixPath(file.name)
    stem = re.sub(r"\.xml(\.[a-z0-9]+)?$", "", path.name, flags=re.IGNORECASE)
    site = re.sub(r"[_-]?Posts$", "", stem, flags=re.IGNORECASE)
    site = site or re.sub(r"[_-]Posts$", "", path.parent.name, flags=re.IGNORECASE)
    if site:
        return _domain(site.lower())
    above = re.sub(r"[_-]Posts$", "", PurePosixPath(file.url).parent.name, flags=re.IGNORECASE).lower()
    return above if _DOMAIN.fullmatch(above) else ""


def _domain(site: str) -> str:
    if _DOMAIN.fullmatch(site):
        return site
    if not re.fullmatch(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*", site):
        return ""
    labels = site.split(".")
    if labels == ["meta"]:
        return "meta.stackexchange.com"
    names = [label for label in labels if label != "meta"]
    own = _OWN_DOMAINS.get(names[-1]) if names else None
    if own:
        return ".".join([*(["meta"] if "meta" in labels else []), *names[:-1], own])
    return ".".join([*names, *(["meta"] if "meta" in labels else []), "stackexchange.com"])


READER = ReaderSpec(
    name="stackexchange",
    make=StackExchangeReader,
    reads="`Posts.xml` of each site, unpacked from its 7z archive",
    reasons=REASONS,
    damage=(BROKEN,),
)
