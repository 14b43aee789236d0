"""How many sentences of Wikipedia's articles lose words, because a template of theirs is not known.

Every article of the sample is turned into its text; sentences with a gap are those that the reader drops, and the gaps
in brackets are those that it mends. `--tables none` knows no template with words, as a reader without tables would.

    python bench/holes.py [--tables none]

Real input is looked for in PUNA_TEST_DATA, by default shared/data beside the repository.
"""

# ruff: noqa: RUF001 (characters that look alike are what these strings are about)

import argparse
import bz2
import os
import re
from collections.abc import Iterator
from pathlib import Path

from lxml import etree

from puna.data.readers import wikitext, wikitext_scan
from puna.data.readers.wikitext import Wiki, to_text
from puna.data.readers.wikitext_gaps import Gaps
from puna.data.readers.wikitext_marks import GAP
from puna.data.readers.wikitext_templates import expansion

_SPACE = "{http://www.mediawiki.org/xml/export-0.10/}"
_END = re.compile(r"[.!?…][\"'”’»)\]]*(?=\s|$)")


def articles(dump: Path) -> Iterator[tuple[str, str]]:
    """Titles and wikitext of a dump's articles."""
    for page in etree.fromstring(bz2.decompress(dump.read_bytes())).iter(f"{_SPACE}page"):
        if page.findtext(f"{_SPACE}ns") == "0" and page.find(f"{_SPACE}redirect") is None:
            title = page.findtext(f"{_SPACE}title") or ""
            yield title, page.findtext(f"{_SPACE}revision/{_SPACE}text") or ""


def _unknown(name: str, language: str) -> object:
    found = expansion(name, language)
    return found if isinstance(found, str) else GAP


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tables", choices=["all", "none"], default="all")
    if parser.parse_args().tables == "none":
        wikitext.expansion = wikitext_scan.expansion = _unknown  # type: ignore[assignment]
    data = Path(os.environ.get("PUNA_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    gaps, pages, sentences, touched = Gaps(), 0, 0, 0
    for dump in sorted((data / "wikipedia").glob("enwiki*.bz2")):
        for title, source in articles(dump):
            before = gaps.mended + gaps.sentences
            text = to_text(source, title, Wiki("en"), gaps)
            pages += 1
            touched += gaps.mended + gaps.sentences > before
            sentences += len(_END.findall(text))
    whole = sentences + gaps.sentences
    print(f"{pages} articles, {touched} of them with a gap; {whole} sentences")
    share = gaps.sentences / whole
    print(f"dropped: {gaps.sentences} sentences, {share:.2%}, {gaps.bytes} bytes; in brackets: {gaps.mended}")


if __name__ == "__main__":
    main()
