"""Looks at a folder: which sources its files make, how much text each has, and what is left out and why."""

import os
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from puna.config.data import FORMATS, Source
from puna.core.errors import DataError
from puna.data.input_file import InputFile
from puna.data.readers.fields import ROWS, columns_of, first_rows, text_columns
from puna.data.survey.amount import Amount, evenly, measure
from puna.data.survey.kinds import BINARY, BROKEN, EMPTY, NOT_UTF8, kind_of
from puna.data.survey.patterns import ending, escape, patterns
from puna.data.text.code_languages import language_of
from puna.shards.split import hash_fraction

_SKIPPED = frozenset(("__pycache__", "node_modules", "site-packages", "venv"))
"""Directories of tools, beside those with a name that begins with a dot."""
_LOOKED_AT, _OF_A_DIRECTORY = 1024, 48
"""Files that are opened of one ending, and of one ending in one directory; others are what most of these are."""
_ENDINGS = 64
"""Endings that are told apart; rarer ones are looked at together."""
_BUILD, _RUN = {"documents", "work"}, {"config.toml", "metrics.jsonl"}
"""What the directories of a data build and of a run hold."""
_FRACTIONS = (0.0001, 0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5)
_HELDOUT_DOCUMENTS, _FEW = 40, 0.1
"""Documents to hold out at least, or this part of all where that is less."""
_PARTS = 200
"""Into how many parts the hint splits a large text."""
_LEAST = 2000
"""Bytes of training text that a source has at least: fewer train no tokenizer and do not fill a sequence."""
_LEAST_SHARE, _LEAST_OF_MUCH = 0.0005, 20_000
"""The same as a part of all text, whose models have longer sequences, up to these bytes."""
_HARMLESS = (EMPTY, BINARY, NOT_UTF8, BROKEN)
"""Kinds that a reader of text meets and drops: they may stand among a source's files."""
LINK = "symbolic links, which are not followed"
LITTLE = "too little text of its kind"
OWN = "what Puna has built here"
LOCKED = "a directory that cannot be read"
NO_TEXT = "rows without a column of text"
ONE_DOCUMENT = "a single document, where at least two are needed: one of them is held out to validate the model"
NO_DOCUMENT = "no document"

Key = tuple[str, str]
"""A format, and of rows the column of the text."""


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
    heldout_pattern: str = ""
    """Of few documents instead of a share: matches the smallest, where a share would take most of the text."""
    training_bytes: int = 0
    """Bytes of text that are not held out."""


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What lies in a folder."""

    sources: list[Found]
    left_out: dict[str, list[str]]
    """Names of files that no source reads, by the reason."""


@dataclass(kw_only=True)
class _Listing:
    """What a walk through a folder has met."""

    files: list[InputFile] = field(default_factory=list)
    skipped: set[str] = field(default_factory=set)
    """Patterns of what is passed over: hidden files, those of tools, directories that cannot be read."""
    left_out: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def look_at(root: Path, only: str = "", own: Sequence[str] = ()) -> Survey:
    """What lies in a folder, in its subfolders too; no file is changed.

    Args:
        root: The folder.
        only: The name of the one file to look at; empty for all.
        own: Paths below it of what Puna writes there, such as `data/mine`: no source reads them, now or later.

    Raises:
        DataError: It cannot be read, or has no text that a model can be trained on.
    """
    listing = _list(root, only, own)
    left_out = listing.left_out
    groups: dict[Key, list[InputFile]] = defaultdict(list)
    columns: dict[str, list[str]] = {}
    unread: list[InputFile] = []
    for file, (kind, found) in zip(listing.files, _kinds(listing.files), strict=True):
        if kind in FORMATS:
            groups[kind, found[0] if found else ""].append(file)
            columns |= {found[0]: found[1:]} if found else {}
        else:
            left_out[kind].append(file.name)
            unread += [] if kind in _HARMLESS else [file]
    amounts = _with_enough(groups, left_out, unread)
    if not amounts:
        raise _nothing(root / only, left_out)
    sources = _sources(root, groups, amounts, columns, unread)
    if only:
        sources = [replace(source, include=[escape(only)], exclude=[]) for source in sources]
    passed_over = [*sorted(listing.skipped), *(p for path in own for p in (escape(path), f"{escape(path)}/**"))]
    if not only:
        sources = [replace(source, exclude=[*passed_over, *source.exclude]) for source in sources]
    sources = [with_heldout(source) for source in sources]
    size = sum(source.training_bytes for source in sources)
    least = max(_LEAST, min(round(_LEAST_SHARE * size), _LEAST_OF_MUCH))
    for source in [source for source in sources if source.training_bytes < least]:
        sources.remove(source)
        left_out[LITTLE] += [file.name for file in source.files]
    if not sources:
        raise DataError(
            f"{root / only}: has {size:,} bytes of text to train on, at least {least:,} are needed",
            hint="add text: some hundred kilobytes are enough for a very small model",
        )
    return Survey(sources=sources, left_out=dict(left_out))


def _list(root: Path, only: str, own: Sequence[str]) -> _Listing:
    """All regular files below a folder by their names, and what is passed over."""
    listing = _Listing()

    def refuse(error: OSError) -> None:
        path = Path(error.filename).relative_to(root)
        if path == Path():
            raise DataError(f"{root}: cannot be read ({error.strerror})", hint="give yourself the right to read it")
        listing.left_out[LOCKED].append(_shown(path))
        listing.skipped.add(f"{escape(path.as_posix())}/**")

    def take(path: Path) -> None:
        status, name = path.stat(), _shown(path.relative_to(root))
        listing.files.append(InputFile(str(path), name, status.st_size, str(status.st_mtime_ns)))

    if only:
        if (root / only).is_file():
            take(root / only)
        return listing
    for directory, subdirectories, names in os.walk(root, onerror=refuse):
        below = Path(directory).relative_to(root)
        if below != Path() and ({*subdirectories} >= _BUILD or {*names} >= _RUN):
            listing.left_out[OWN].append(_shown(below))
            listing.skipped.add(f"{escape(below.as_posix())}/**")
            subdirectories.clear()
            continue
        for name in [*subdirectories, *names]:
            if (below / name).as_posix() not in own and not _is_skipped(name) and (Path(directory) / name).is_symlink():
                listing.left_out[LINK].append(_shown(below / name))
        listing.skipped |= {f"**/{'.*' if name[0] == '.' else name}/**" for name in subdirectories if _is_skipped(name)}
        listing.skipped |= {"**/.*" for name in names if name[0] == "."}
        subdirectories[:] = [
            name for name in subdirectories if not _is_skipped(name) and (below / name).as_posix() not in own
        ]
        for name in names:
            path = Path(directory) / name
            is_own = _is_skipped(name) or (below / name).as_posix() in own
            if not is_own and not path.is_symlink() and path.is_file():
                take(path)
    listing.files.sort(key=lambda file: file.name)
    return listing


def _shown(path: Path) -> str:
    """A path for people, as the readers name it."""
    return path.as_posix().encode("utf-8", "backslashreplace").decode()


def _is_skipped(name: str) -> bool:
    return name.startswith(".") or name in _SKIPPED


def _kinds(files: Sequence[InputFile]) -> list[tuple[str, list[str]]]:
    """The kind of each file, and of rows the columns that may be the text."""
    count = Counter(_of_name(file) for file in files)
    often = {name for name, _ in count.most_common(_ENDINGS)}
    alike: dict[str, dict[str, list[InputFile]]] = defaultdict(lambda: defaultdict(list))
    for file in files:
        name = _of_name(file)
        alike[name if name in often else ""][os.path.dirname(file.url)].append(file)
    kinds: dict[str, tuple[str, list[str]]] = {}
    for directories in alike.values():
        each = min(_OF_A_DIRECTORY, max(1, _LOOKED_AT // len(directories)))
        opened = [file for same in directories.values() for file in evenly(same, each)]
        looked = {file.url: _look(file) for file in evenly(opened, _LOOKED_AT)}
        everywhere = _most(list(looked.values()))
        for same in directories.values():
            here = [looked[file.url] for file in same if file.url in looked]
            kinds |= dict.fromkeys((file.url for file in same), _most(here) if here else everywhere)
        kinds |= looked
    return [kinds[file.url] for file in files]


def _of_name(file: InputFile) -> str:
    """The end of a file's name; empty where it has none."""
    found = ending(file.name)
    return found if found.startswith(".") else ""


def _most(looked: list[tuple[str, list[str]]]) -> tuple[str, list[str]]:
    """What most of these files are."""
    (kind, columns), _ = Counter((kind, tuple(columns)) for kind, columns in looked).most_common(1)[0]
    return kind, [*columns]


def _look(file: InputFile) -> tuple[str, list[str]]:
    """The kind of one file, and of rows the columns that may be the text."""
    kind = kind_of(file)
    if kind not in ROWS:
        return kind, []
    rows = first_rows(file, kind)
    if found := text_columns(rows):
        return kind, found
    there = columns_of(rows)
    return (f"{NO_TEXT} (there are: {', '.join(there)})" if there else BROKEN), []


def _with_enough(
    groups: dict[Key, list[InputFile]], left_out: dict[str, list[str]], unread: list[InputFile]
) -> dict[Key, Amount]:
    """How much each group holds, the largest first; those of one document join others or are left out."""
    amounts: dict[Key, Amount] = {}
    seen: dict[tuple[int, int], str] = {}
    for key in sorted(groups, key=lambda key: (-sum(file.size for file in groups[key]), key)):
        amounts[key] = _measured(key, groups[key], seen)
    for single, others in ((_TEXT, _BOOKS), (_BOOKS, _TEXT), (_TEXT, _CODE), (_CODE, _TEXT)):
        if {single, others} <= amounts.keys() and min(amounts[key].documents for key in (single, others)) < 2:
            key = _joined(single, others, groups, amounts)
            files = sorted(groups.pop(single) + groups.pop(others), key=lambda file: file.name)
            del amounts[single], amounts[others]
            groups[key], amounts[key] = files, _measured(key, files, {})
    for key in [key for key, amount in amounts.items() if amount.documents < 2]:
        amount, files = amounts.pop(key), groups.pop(key)
        why = ", ".join(f"{count:,} {reason}" for reason, count in amount.dropped.items()) or "nothing in it"
        left_out[ONE_DOCUMENT if amount.documents else f"{NO_DOCUMENT} ({why})"] += [file.name for file in files]
        unread += files
    return amounts


_TEXT, _BOOKS, _CODE = ("text", ""), ("gutenberg", ""), ("code", "")
"""Formats of which each file is a document, and which can read each other's to some extent."""


def _joined(one: Key, other: Key, groups: dict[Key, list[InputFile]], amounts: dict[Key, Amount]) -> Key:
    """The reader of the files of two kinds of which one has a single document.

    The reader of books leaves a text without Project Gutenberg's marks as it is; that of code takes a README for a
    language; and that of text takes everything.
    """
    if _BOOKS in (one, other):
        return _BOOKS
    is_read_as_code = all(language_of(file.name) for file in groups[_TEXT])
    return _CODE if is_read_as_code and amounts[_CODE].documents > 1 else _TEXT


def _measured(key: Key, files: list[InputFile], seen: dict[tuple[int, int], str]) -> Amount:
    form, column = key
    source = Source(path=".", include=["*"], format=form, text_field=column or "text", heldout_fraction=0.5)
    return measure(form, source, files, seen)


def _sources(
    root: Path,
    groups: dict[Key, list[InputFile]],
    amounts: dict[Key, Amount],
    columns: dict[str, list[str]],
    unread: list[InputFile],
) -> list[Found]:
    """A source for each format and column of text, the largest first."""
    keys: dict[str, Key | None] = dict.fromkeys((_path(root, file) for file in unread), None)
    keys |= {_path(root, file): key for key, files in groups.items() for file in files}
    found = patterns(keys)
    sources: list[Found] = []
    taken: Counter[str] = Counter()
    for key in sorted(amounts, key=lambda key: (-amounts[key].text_bytes, key)):
        form, column = key
        include, exclude = found[key]
        taken[form] += 1
        sources.append(
            Found(
                name=form if taken[form] == 1 else f"{form}-{taken[form]}", format=form, files=groups[key],
                include=include, exclude=exclude, amount=amounts[key], text_field=column,
                other_fields=columns.get(column, []),
            )
        )  # fmt: skip
    return sources


def _path(root: Path, file: InputFile) -> str:
    """A file's path below the root, with the bytes that are not UTF-8."""
    return Path(file.url).relative_to(root).as_posix()


def with_heldout(found: Found) -> Found:
    """The source with what it holds out: few of many documents, and of few at least one and not most of the text."""
    amount = found.amount
    if not amount.is_whole:
        share = min(_HELDOUT_DOCUMENTS / amount.documents, _FEW)
        share = next(fraction for fraction in _FRACTIONS if fraction >= share)
        return replace(found, heldout_fraction=share, training_bytes=round((1 - share) * amount.text_bytes))
    lowest = {  # a document is held out by a share above this
        identity: min(hash_fraction(f"{found.name}/{same}") for same in (identity, *amount.copies.get(identity, [])))
        for identity in amount.sizes
    }
    least = max(1, min(_HELDOUT_DOCUMENTS, round(_FEW * len(lowest))))
    counts = {share: sum(value < share for value in lowest.values()) for share in _FRACTIONS}
    possible = [share for share in _FRACTIONS if least <= counts[share] < len(lowest)]
    training = {
        share: sum(size for identity, size in amount.sizes.items() if lowest[identity] >= share) for share in possible
    }
    enough = [share for share in possible if 2 * training[share] >= amount.text_bytes]
    if enough:
        return replace(found, heldout_fraction=enough[0], training_bytes=training[enough[0]])
    smallest = min(amount.sizes, key=lambda identity: (amount.sizes[identity], identity))
    names = "|".join(re.escape(name) for name in (smallest, *amount.copies.get(smallest, [])))
    left = amount.text_bytes - amount.sizes[smallest]
    return replace(found, heldout_pattern=f"^({names})$", training_bytes=left)


def _nothing(place: Path, left_out: dict[str, list[str]]) -> DataError:
    """What is said of a folder or file without sources."""
    if place.exists() and not place.is_dir() and not place.is_file():
        return DataError(f"{place}: is not a regular file", hint="name the folder or file that holds your text")
    if not left_out:
        return DataError(f"{place}: has no files", hint="name the folder that holds your text")
    if names := left_out.get(ONE_DOCUMENT):
        file = str(place) if place.is_file() else str(place / names[0])
        return DataError(f"{file}: is {ONE_DOCUMENT}", hint=_split(Path(file)))
    told = "; ".join(f"{len(names):,} x {reason}, such as {names[0]}" for reason, names in left_out.items())
    return DataError(f"{place}: has no text that Puna reads: {told}", hint="docs/guide/data.md lists what is read")


def _split(file: Path) -> str:
    """How to make several documents of one."""
    if kind_of(InputFile(str(file), file.name, file.stat().st_size, "")) not in ("text", "gutenberg"):
        return "add a second document, or write the text into files of its own"
    parts = re.sub(r"\W+", "-", file.name.lstrip(".").partition(".")[0], flags=re.ASCII).strip("-") or "text"
    unpack = {".gz": "gzip -dc", ".bz2": "bzip2 -dc", ".xz": "xz -dc", ".zst": "zstd -dc"}.get(file.suffix, "cat")
    size = file.stat().st_size
    part = max(size // _PARTS, min(size // 8, 20_000), 1)
    return (
        f"its parts can be the documents: `mkdir {parts}-parts && {unpack} {shlex.quote(str(file))} | split -C {part} "
        f"--additional-suffix=.txt - {parts}-parts/ && puna init {parts}-parts`"
    )
