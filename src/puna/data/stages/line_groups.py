"""The files of a source whose lines are counted together by the rule `lines`.

cc_net (mine.py) handles one dump of Common Crawl at a time: the hashes of its lines lie in a directory of the dump, and
a page is compared with a group of the dump's shards. A page that two dumps hold keeps its lines in both, and is then an
exact duplicate, of which one stays; were both dumps counted together, it would lose its lines in both.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from puna.config.data import Source
from puna.config.rules import LineRules
from puna.data.input.streams import open_stream
from puna.data.input_file import InputFile
from puna.data.table import LINES

_CRAWLS = ("warc", "wet")
"""Formats of Common Crawl's files."""
_DUMP = re.compile(r"(?i)CC-MAIN-(\d{4}(?:-\d{2,4})?)(?!\d)")
"""Common Crawl's name of a dump, such as CC-MAIN-2019-30 or CC-MAIN-2009-2010, and no time such as
CC-MAIN-20190715175205."""
_WEEK = re.compile(r"(?<![\d-])((?:19|20)\d{2}-[0-5]\d)(?!\d|-\d\d(?!\d))")
"""The year and week of a dump, as cc_net names it, and no date such as 2019-07-15."""
_HEAD_BYTES = 1 << 14
_PART_OF = re.compile(rb"(?im)^isPartOf[ \t]*:[ \t]*(\S[^\r\n]*?)[ \t]*\r?$")

Files = Sequence[tuple[int, InputFile]]
"""Files with their places in the source."""


def line_groups(source: Source, rules: LineRules, files: Files) -> list[Files]:
    """The files in groups, in the order of each group's first file; all in one unless the source counts lines.

    Args:
        source: The source's section of the recipe.
        rules: How a dump is told, and how many of its files are counted together.
        files: The files in the order of their names.
    """
    if LINES not in source.clean:
        return [files]
    dumps: dict[str, list[tuple[int, InputFile]]] = {}
    for index, file in files:
        dumps.setdefault(dump_of(source, rules, file), []).append((index, file))
    groups = [group for dump in dumps.values() for group in _parts(dump, rules.max_files)]
    return sorted(groups, key=lambda group: group[0][0])


def dump_of(source: Source, rules: LineRules, file: InputFile) -> str:
    """The name of a file's dump; empty if nothing tells it."""
    if rules.dump:
        found = re.search(rules.dump, file.name)
        return (found[1] or "") if found else ""
    if source.format in _CRAWLS:
        return _named(file.name) or _crawl_of(file)
    found = _DUMP.search(file.name)
    return found[1] if found else ""


def _parts(files: Files, most: int) -> list[Files]:
    size = most or len(files)
    return [files[start : start + size] for start in range(0, len(files), size)]


def _named(name: str) -> str:
    found = _DUMP.search(name) or _WEEK.search(name)
    return found[1] if found else ""


@lru_cache(maxsize=1 << 20)
def _crawl_of(file: InputFile) -> str:
    """The crawl that a file's first record says it belongs to (ISO 28500, section 6.2: `isPartOf` of a `warcinfo`).

    A file that cannot be opened has none: the task that reads it says why.
    """
    try:
        with open_stream(file) as stream:
            head = stream.read(_HEAD_BYTES)
    except OSError:
        return ""
    first, _, _ = head.removeprefix(b"WARC/").partition(b"\nWARC/")
    found = _PART_OF.search(first) if head.startswith(b"WARC/") else None
    if found is None:
        return ""
    value = found[1].decode("utf-8", "replace")
    return _named(value) or value
