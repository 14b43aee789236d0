"""Looks at a folder: which sources its files make, how much text each has, and what is left out and why."""

import os
import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from puna.config.data import FORMATS, Source
from puna.core.errors import DataError
from puna.data.input_file import InputFile
from puna.data.readers.fields import ROWS, columns_of, first_rows, text_columns
from puna.data.survey.amount import Amount, measure
from puna.data.survey.kinds import kind_of
from puna.shards.split import is_heldout

_SKIPPED = frozenset(("__pycache__", "node_modules", "site-packages", "venv"))
"""Directories of tools, beside those with a name that begins with a dot."""
_LOOKED_AT = 48
"""Files of one ending that are opened; the others of many are taken to be what most of these are."""
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zstd", ".lz4")
_LISTED = 200
"""Files that a source names one by one, at most."""
_FRACTIONS = (0.0001, 0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5)
_HELDOUT_DOCUMENTS = 40
"""Documents to hold out at least, where there are enough of them for that."""
NO_TEXT = "rows without a column of text"
ONE_DOCUMENT = "a single document, where at least two are needed: one of them is held out to validate the model"


@dataclass(frozen=True, kw_only=True)
class Found:
    """Files of a folder that make one source."""

    name: str
    format: str
    files: list[InputFile]
    include: list[str]
    exclude: list[str]
    amount: Amount
    text_field: str = ""
    """Of rows: the column of the text."""
    other_fields: list[str] = field(default_factory=list)
    """Other columns that may be the text."""
    heldout_fraction: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What lies in a folder."""

    sources: list[Found]
    left_out: dict[str, list[str]]
    """Names of files that no source reads, by the reason."""


def look_at(root: Path, only: str = "", own: Sequence[str] = ()) -> Survey:
    """What lies in a folder, in its subfolders too; no file is changed.

    Args:
        root: The folder.
        only: The name of the one file to look at; empty for all.
        own: Paths below it of what Puna writes there, such as `data/mine`: no source reads them, now or later.

    Raises:
        DataError: It cannot be read, or has no text that a model can be trained on.
    """
    files, skipped = _files(root, only, own)
    skipped += [pattern for path in own for pattern in (escape(path), f"{escape(path)}/**")]
    kinds = _kinds(files)
    groups: dict[tuple[str, str], list[InputFile]] = defaultdict(list)
    left_out: dict[str, list[str]] = defaultdict(list)
    columns: dict[str, list[str]] = {}
    for file in files:
        kind, column = kinds[file.name], ""
        if kind in ROWS:
            if not (found := text_columns(first_rows(file, kind))):
                there = ", ".join(columns_of(first_rows(file, kind))) or "none"
                left_out[f"{NO_TEXT} (there are: {there})"].append(file.name)
                continue
            column, columns[found[0]] = found[0], found[1:]
        if kind in FORMATS:
            groups[kind, column].append(file)
        else:
            left_out[kind].append(file.name)
    sources = _sources(groups, columns, skipped)
    for source in [source for source in sources if source.amount.documents < 2]:
        left_out[ONE_DOCUMENT] += [file.name for file in source.files]
        sources.remove(source)
    if not sources:
        raise _nothing(root, left_out)
    return Survey(sources=[with_heldout(source) for source in sources], left_out=dict(left_out))


def _files(root: Path, only: str, own: Sequence[str]) -> tuple[list[InputFile], list[str]]:
    """All regular files below a folder by their names, and patterns of the hidden ones and of those of tools."""
    skipped: set[str] = set()

    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror})")

    found: list[InputFile] = []
    for directory, subdirectories, names in os.walk(root, onerror=refuse):
        if not only:
            skipped |= {f"**/{'.*' if name[0] == '.' else name}/**" for name in subdirectories if _is_skipped(name)}
            skipped |= {"**/.*" for name in names if name[0] == "."}
        below = Path(directory).relative_to(root)
        subdirectories[:] = [
            name for name in subdirectories if not (only or _is_skipped(name) or (below / name).as_posix() in own)
        ]
        for name in [only] if only else names:
            path = Path(directory) / name
            if _is_skipped(name) or (below / name).as_posix() in own or path.is_symlink() or not path.is_file():
                continue
            shown = path.relative_to(root).as_posix().encode("utf-8", "backslashreplace").decode()
            status = path.stat()
            found.append(InputFile(str(path), shown, status.st_size, str(status.st_mtime_ns)))
    return sorted(found, key=lambda file: file.name), sorted(skipped)


def _is_skipped(name: str) -> bool:
    return name.startswith(".") or name in _SKIPPED


def _kinds(files: Sequence[InputFile]) -> dict[str, str]:
    """The kind of each file by its name."""
    by_ending: dict[str, list[InputFile]] = defaultdict(list)
    for file in files:
        by_ending[_ending(file.name)].append(file)
    kinds: dict[str, str] = {}
    for same in by_ending.values():
        looked = evenly(same, _LOOKED_AT)
        found = {file.name: kind_of(file) for file in looked}
        most = Counter(found.values()).most_common(1)[0][0]
        kinds |= dict.fromkeys((file.name for file in same), most) | found
    return kinds


def evenly(files: Sequence[InputFile], count: int) -> list[InputFile]:
    """At most `count` files, evenly spread."""
    return [files[number * len(files) // count] for number in range(count)] if len(files) > count else [*files]


def _ending(name: str) -> str:
    """The end of a file's name that tells its kind, with its compression: `.jsonl.gz`; of none, the whole name."""
    base = posixpath.basename(name)
    plain, packed = base, ""
    for suffix in _COMPRESSED:
        if plain.lower().endswith(suffix):
            plain, packed = plain[: -len(suffix)], plain[-len(suffix) :] + packed
    ending = posixpath.splitext(plain)[1]
    return ending + packed if re.fullmatch(r"\.[\w+-]{1,12}", ending) else base


def _sources(
    groups: dict[tuple[str, str], list[InputFile]], columns: dict[str, list[str]], skipped: list[str]
) -> list[Found]:
    """A source for each format and column of text, the largest first."""
    endings: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for key, files in groups.items():
        for ending in {_ending(file.name) for file in files}:
            endings[ending].append(key)
    sources: list[Found] = []
    taken: Counter[str] = Counter()
    for key in sorted(groups, key=lambda key: (-sum(file.size for file in groups[key]), key)):
        form, column = key
        include, exclude = _patterns(key, groups, endings)
        taken[form] += 1
        source = Source(path=".", include=include, format=form, text_field=column or "text", heldout_fraction=0.5)
        amount = measure(form, source, groups[key])
        sources.append(
            Found(
                name=form if taken[form] == 1 else f"{form}-{taken[form]}", format=form, files=groups[key],
                include=include, exclude=[*skipped, *exclude], amount=amount, text_field=column,
                other_fields=columns.get(column, []),
            )
        )  # fmt: skip
    return sources


def _patterns(
    key: tuple[str, str],
    groups: dict[tuple[str, str], list[InputFile]],
    endings: dict[str, list[tuple[str, str]]],
) -> tuple[list[str], list[str]]:
    """Patterns that find the files of one source and none of another's.

    An ending is a pattern of the source that has most of its files; the others name their files one by one, and it
    leaves those out.
    """
    include, exclude = [], []
    for ending in sorted({_ending(file.name) for file in groups[key]}):
        count = {other: sum(_ending(file.name) == ending for file in groups[other]) for other in endings[ending]}
        if key == max(count, key=lambda other: (count[other], other)):
            include.append(f"**/*{escape(ending)}" if ending.startswith(".") else f"**/{escape(ending)}")
            others = [file.name for other in count if other != key for file in groups[other]]
            exclude += [escape(name) for name in others if _ending(name) == ending][:_LISTED]
        else:
            include += [escape(file.name) for file in groups[key] if _ending(file.name) == ending][:_LISTED]
    return include, exclude


def escape(name: str) -> str:
    """A name as a glob pattern that only it matches."""
    return re.sub(r"([*?[])", r"[\1]", name)


def with_heldout(found: Found) -> Found:
    """The source with a share to hold out: few of many documents, and of few at least one and not all."""
    amount = found.amount
    wanted = min(_HELDOUT_DOCUMENTS / amount.documents, 0.1)
    for fraction in _FRACTIONS:
        if fraction < wanted:
            continue
        source = Source(include=["*"], path=".", heldout_fraction=fraction)
        heldout = sum(is_heldout(source, found.name, identity) for identity in amount.identities)
        if not amount.is_whole or 0 < heldout < len(amount.identities):
            return replace(found, heldout_fraction=fraction)
    return replace(found, heldout_fraction=_FRACTIONS[-1])


def _nothing(root: Path, left_out: dict[str, list[str]]) -> DataError:
    """What is said of a folder without sources."""
    if not left_out:
        return DataError(f"{root}: has no files", hint="name the folder that holds your text")
    if names := left_out.get(ONE_DOCUMENT):
        return DataError(
            f"{root}: {names[0]} is {ONE_DOCUMENT}",
            hint="split it, for example with `split -C 100k FILE part- --additional-suffix=.txt`, and name the folder "
            "of the parts",
        )
    told = "; ".join(f"{len(names):,} x {reason}, such as {names[0]}" for reason, names in left_out.items())
    return DataError(f"{root}: has no text that Puna reads: {told}", hint="docs/guide/data.md lists what is read")
