"""How much text some files hold, and in which languages: from all of them, or from a sample of large ones."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from puna.config.data import Source
from puna.core.errors import DataError, UserError
from puna.data.dedup.exact import text_key
from puna.data.document import DUPLICATE, READER_FAILED, Document, Dropped, Lost, Reader
from puna.data.input_file import InputFile
from puna.data.models.fasttext_model import FastTextModel
from puna.data.rules.language import identify, installed_model
from puna.data.stages.cleaning import read_one
from puna.data.table import find_reader, make

SAMPLE_BYTES = 8_000_000
"""Bytes of text that are read at most; of files that hold more, the rest is estimated."""
_FEWEST, _MOST = 16, 1024
"""Files of a sample, at least and at most."""
_ALL_FILES = 4096
"""Files that are all read if they are small."""
_BOUND = 16
"""How many times its part of the sample a file is read at most, in search of the end of a block."""
_DOCUMENT_BYTES = 64_000_000
_LANGUAGE_DOCUMENTS = 200
"""Documents whose language is looked for."""
_SURE = 0.5
"""Least probability of a language (cc_net, mine.py)."""


@dataclass(frozen=True, kw_only=True)
class Amount:
    """What some files hold."""

    documents: int
    text_bytes: int
    is_whole: bool
    """Whether all was read; else both are estimated."""
    sizes: dict[str, int]
    """Bytes of text of each document that was read, by its id."""
    copies: dict[str, list[str]]
    """Ids of documents with the same text: a build keeps one of them, and holds it out if it would hold out any."""
    dropped: dict[str, int]
    """How many records that were read gave no document, by reason."""
    languages: dict[str, float]
    """Share of each language in the text of the sample, the largest first; empty where no detector is installed."""
    beginnings: list[str]
    """The first words of some documents, each once."""


def measure(name: str, source: Source, files: Sequence[InputFile], seen: dict[tuple[int, int], str]) -> Amount:
    """Read documents of a source's files, all of them or a sample.

    Args:
        name: The source's name.
        source: Its format and column of text.
        files: Its files.
        seen: Ids of documents whose texts have come already and do not count again, by the texts' keys; those of this
            source are added.
    """
    reader = make(find_reader(source.format), name, source, _DOCUMENT_BYTES)
    total = sum(file.size for file in files)
    is_large = total > SAMPLE_BYTES or len(files) > _ALL_FILES
    wanted = min(max(_FEWEST, SAMPLE_BYTES * len(files) // max(1, total)), _MOST)
    sample = evenly(files, wanted) if is_large else files
    texts: list[str] = []
    sizes: dict[str, int] = {}
    copies: dict[str, list[str]] = defaultdict(list)
    dropped: Counter[str] = Counter()
    read = text_bytes = 0
    is_whole = len(sample) == len(files)
    share = SAMPLE_BYTES // len(sample) if is_large else SAMPLE_BYTES
    for file in sample:
        blocks: list[int] = []
        in_file = before = 0
        for document in _read(reader, file.watched(blocks.append, lambda error: None), name):
            if isinstance(document, Document) and (key := text_key(document.text)) in seen:
                copies[seen[key]].append(document.id)
                document = Dropped(name, document.id, DUPLICATE)
            if isinstance(document, Dropped):
                dropped[document.reason] += 1
            if isinstance(document, Document):
                seen[key] = document.id
                sizes[document.id] = len(document.text.encode(errors="replace"))
                in_file += sizes[document.id]
                texts.append(document.text)
            # A block is read ahead of its records: when the next one comes, those of the blocks before it have been.
            if in_file > share and (len(blocks) > max(1, before) or in_file > _BOUND * share):
                is_whole = False
                blocks = blocks[:-1] if len(blocks) > before else blocks
                break
            before = len(blocks)
        read += min(sum(blocks), file.size)
        text_bytes += in_file
    scale = 1.0 if is_whole else total / max(1, read)
    return Amount(
        documents=round(len(sizes) * scale),
        text_bytes=round(text_bytes * scale),
        is_whole=is_whole,
        sizes=sizes,
        copies=copies,
        dropped=dict(dropped.most_common()),
        languages=languages_of(texts),
        beginnings=list(dict.fromkeys(filter(None, map(_beginning, texts[:: max(1, len(texts) // 20)]))))[:3],
    )


def _read(reader: Reader, file: InputFile, name: str) -> Iterator[Document | Dropped | Lost]:
    """The documents of a file as a build has them; what the reader cannot handle is dropped, as there."""
    try:
        for record in reader.records(file):
            yield record if isinstance(record, Lost) else read_one(reader, record, name, {})
    except (MemoryError, ImportError, UserError):
        raise
    except Exception as error:
        yield Dropped(name, file.name, READER_FAILED, f"{type(error).__name__}: {error}")


def evenly(files: Sequence[InputFile], count: int) -> list[InputFile]:
    """At most `count` files, evenly spread."""
    return [files[number * len(files) // count] for number in range(count)] if len(files) > count else [*files]


def languages_of(texts: Sequence[str]) -> dict[str, float]:
    """The languages of a sample by their shares of its text; none without the package that brings the detector."""
    try:
        model = FastTextModel(installed_model())
    except DataError:
        return {}
    sizes: Counter[str] = Counter()
    for text in texts[:: max(1, len(texts) // _LANGUAGE_DOCUMENTS)]:
        language, probability = identify(model, text)
        sizes[language if probability >= _SURE else "unsure"] += len(text)
    return {language: size / max(1, sizes.total()) for language, size in sizes.most_common()}


def _beginning(text: str) -> str:
    """The first words of a text, as a prompt."""
    line = next((line for line in text.splitlines() if len(line.split()) > 2), "")
    return " ".join(line.split()[:4])[:60]
