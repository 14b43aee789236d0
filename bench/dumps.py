"""Raw dumps to documents, one core: Wikipedia's XML, Stack Exchange's Posts.xml and arXiv's LaTeX, uncompressed.

Each dump is a real one repeated under other ids until it has 50 MB, in a plain file. `records` finds and joins the
records, `document` makes the text; a build does both. The peer for Wikipedia is what its users do most: strip_code()
of mwparserfromhell on each article's wikitext, here on the first articles only.

    python bench/dumps.py

The record goes to bench/results/. Real input is looked for in PUNA_TEST_DATA, by default shared/data beside the
repository.
"""

import argparse
import bz2
import gzip
import io
import os
import re
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mwparserfromhell
from lxml import etree

from puna.config.data import Source
from puna.core.files import write_json
from puna.core.records import commit, machine
from puna.data.document import Document, Raw, Reader
from puna.data.input_file import InputFile
from puna.data.readers.arxiv import ArxivReader
from puna.data.readers.stackexchange import StackExchangeReader
from puna.data.readers.wikipedia import WikipediaReader

LIMIT = 64_000_000
PEER_BYTES = 2_000_000
"""The peer is slow."""


def shifted(numbers: re.Pattern[bytes], content: bytes, by: int) -> bytes:
    """The content with so much added to each id that the expression finds."""
    return numbers.sub(lambda match: match[1] + str(int(match[2]) + by).encode(), content)


def repeated(head: bytes, body: bytes, tail: bytes, numbers: re.Pattern[bytes], size: int) -> bytes:
    """A dump of at least `size` bytes."""
    copies = -(-size // len(body))
    return b"".join([head, *(shifted(numbers, body, 10**6 * copy) for copy in range(copies)), tail])


def wikipedia(data: Path, size: int) -> bytes:
    """106 English articles with 100 redirects and other pages, again and again."""
    content = bz2.decompress(next((data / "wikipedia").glob("*.bz2")).read_bytes())
    first, last = content.index(b"<page>"), content.rindex(b"</mediawiki>")
    return repeated(content[:first], content[first:last], content[last:], re.compile(rb"(</ns>\s*<id>)(\d+)"), size)


def stackexchange(data: Path, size: int) -> bytes:
    """A site of 257 questions and 341 answers, again and again."""
    content = gzip.decompress((data / "stackexchange" / "datascience.meta_Posts.xml.gz").read_bytes())
    first, last = content.index(b"<row"), content.rindex(b"</posts>")
    return repeated(content[:first], content[first:last], content[last:], re.compile(rb'( (?:Parent)?Id=")(\d+)'), size)


def arxiv(data: Path, size: int) -> bytes:
    """The LaTeX files of two papers, again and again, as a bulk archive that is not compressed."""
    papers = []
    for path in sorted((data / "arxiv").glob("*/source.tar.gz")):
        with tarfile.open(path) as source:
            files = {member.name: source.extractfile(member) for member in source if member.name.endswith(".tex")}
            papers.append(archive({name: file.read() for name, file in files.items() if file}))
    copies = -(-size // sum(map(len, papers)))
    return archive(
        {
            f"2301/2301.{copy * len(papers) + n:05d}.tar": paper
            for copy in range(copies)
            for n, paper in enumerate(papers)
        }
    )


def archive(members: dict[str, bytes]) -> bytes:
    """A tar file."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as target:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            target.addfile(member, io.BytesIO(content))
    return stream.getvalue()


DUMPS: dict[str, tuple[Callable[[Path, int], bytes], type[Reader], str]] = {
    "wikipedia": (wikipedia, WikipediaReader, "dump.xml"),
    "stackexchange": (stackexchange, StackExchangeReader, "datascience.meta_Posts.xml"),
    "arxiv": (arxiv, ArxivReader, "arXiv_src_2301_001.tar"),
}
"""What makes the input, what reads it, and the file's name."""


def measure(reader: Reader, file: InputFile) -> dict[str, float]:
    """Seconds of this process's CPU and counts of one pass over a dump."""
    started = time.process_time()
    records = [record for record in reader.records(file) if isinstance(record, Raw)]
    found = time.process_time()
    documents = [reader.document(record) for record in records]
    done = time.process_time()
    texts = [document.text for document in documents if isinstance(document, Document)]
    return {
        "records_seconds": found - started, "document_seconds": done - found, "documents": len(texts),
        "text_bytes": sum(len(text.encode()) for text in texts),
    }  # fmt: skip


def strip_code(file: InputFile) -> float:
    """The peer's megabytes of wikitext per second."""
    reader = WikipediaReader("peer", Source(path="x", include=["*"], format="wikipedia", heldout_fraction=0.1), LIMIT)
    texts: list[str] = []
    for record in reader.records(file):
        if isinstance(record, Raw):
            texts.append(etree.fromstring(record.content).findtext("revision/text") or "")
        if sum(map(len, texts)) > PEER_BYTES:
            break
    started = time.process_time()
    for text in texts:
        mwparserfromhell.parse(text).strip_code()
    return sum(len(text.encode()) for text in texts) / 1e6 / (time.process_time() - started)


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=50, help="of each input")
    arguments = parser.parse_args()
    data = Path(os.environ.get("PUNA_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    load = os.getloadavg()[0]  # before: of other work on the machine
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as directory:
        for name, (make, kind, file_name) in DUMPS.items():
            path = Path(directory) / file_name
            path.write_bytes(make(data, arguments.megabytes * 10**6))
            file = InputFile(str(path), file_name, path.stat().st_size, "")
            source = Source.model_validate({"path": "x", "include": ["*"], "format": name, "heldout_fraction": 0.1})
            rounds = [measure(kind(name, source, LIMIT), file) for _ in range(arguments.rounds)]
            results[name] = rates(file.size, rounds)
            if name == "wikipedia":
                results[name]["peer_strip_code_megabytes_per_second"] = strip_code(file)
            print(name, {key: value for key, value in results[name].items() if key != "rounds"}, flush=True)
    record = {
        "schema": 1,
        "benchmark": "dumps",
        "what": "real dumps repeated under other ids, plain files; MB of input per second of CPU time, one process",
        "command": f"python bench/dumps.py --rounds {arguments.rounds} --megabytes {arguments.megabytes}",
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "load_average": load,
        "results": results,
    }
    path = Path(__file__).parent / "results" / f"dumps_{datetime.now(UTC):%Y-%m-%d}.json"
    write_json(path, record)
    print(f"record: {path}")


def rates(size: int, rounds: list[dict[str, float]]) -> dict[str, Any]:
    """Medians over the rounds, in megabytes of input per second."""
    both = [one["records_seconds"] + one["document_seconds"] for one in rounds]
    megabytes = size / 1e6
    return {
        "input_bytes": size,
        "documents": rounds[0]["documents"],
        "text_bytes": rounds[0]["text_bytes"],
        "megabytes_per_second": megabytes / statistics.median(both),
        "megabytes_per_second_min_max": [megabytes / max(both), megabytes / min(both)],
        "records_megabytes_per_second": megabytes / statistics.median(one["records_seconds"] for one in rounds),
        "document_megabytes_per_second": megabytes / statistics.median(one["document_seconds"] for one in rounds),
        "rounds": rounds,
    }


if __name__ == "__main__":
    main()
