"""How much text some files hold, and in which languages: from all of them, or from a sample of large ones."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from puna.config.data import Source
from puna.core.errors import DataError
from puna.data.document import Document, Dropped, Lost
from puna.data.input_file import InputFile
from puna.data.models.fasttext_model import FastTextModel
from puna.data.rules.language import identify, installed_model
from puna.data.table import find_reader, make

SAMPLE_BYTES = 8_000_000
"""Bytes of text that are read at most; of files that hold more, the rest is estimated."""
_FILES = 64
"""Files of a sample, at most."""
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
    identities: list[str]
    """Ids of the documents that were read."""
    dropped: dict[str, int]
    """How many records that were read gave no document, by reason."""
    languages: dict[str, float]
    """Share of each language in the text of the sample, the largest first; empty where no detector is installed."""
    beginnings: list[str]
    """The first words of some documents, each once."""


def measure(name: str, source: Source, files: Sequence[InputFile]) -> Amount:
    """Read documents of a source's files, all of them or a sample.

    Args:
        name: The source's name.
        source: Its format and column of text.
        files: Its files.
    """
    reader = make(find_reader(source.format), name, source, _DOCUMENT_BYTES)
    total = sum(file.size for file in files)
    step = max(1, len(files) // _FILES) if total > SAMPLE_BYTES else 1
    sample = files[::step]
    texts: list[str] = []
    identities: list[str] = []
    dropped: Counter[str] = Counter()
    read = text_bytes = 0
    is_whole = step == 1
    share = SAMPLE_BYTES // len(sample) if total > SAMPLE_BYTES else SAMPLE_BYTES
    for file in sample:
        seen: list[int] = []
        in_file = 0
        for record in reader.records(file.watched(seen.append, lambda error: None)):
            document = record if isinstance(record, Dropped | Lost) else reader.document(record)
            if isinstance(document, Dropped):
                dropped[document.reason] += 1
            if isinstance(document, Document):
                in_file += len(document.text.encode(errors="replace"))
                identities.append(document.id)
                texts.append(document.text)
            if in_file > share:
                is_whole = False
                break
        read += min(sum(seen), file.size)
        text_bytes += in_file
    scale = 1.0 if is_whole else total / max(1, read)
    return Amount(
        documents=round(len(identities) * scale),
        text_bytes=round(text_bytes * scale),
        is_whole=is_whole,
        identities=identities,
        dropped=dict(dropped.most_common()),
        languages=languages_of(texts),
        beginnings=list(dict.fromkeys(filter(None, map(_beginning, texts[:: max(1, len(texts) // 20)]))))[:3],
    )


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
