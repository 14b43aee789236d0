"""What can be known before hours of reading is said before them."""

import re
import shutil
from collections import defaultdict
from importlib.util import find_spec
from itertools import islice

from puna.config.data import EXAMPLES, Source, format_of
from puna.config.recipe import Recipe
from puna.core.console import say, warn
from puna.core.errors import DataError
from puna.core.layout import DataDir
from puna.core.packages import missing_package
from puna.core.units import counted, format_bytes
from puna.data.document import TOO_LARGE, Document, Dropped, Raw
from puna.data.input.sources import list_files
from puna.data.input_file import InputFile
from puna.data.readers.fields import ROWS, columns_of, first_rows, text_columns
from puna.data.reasons import explain
from puna.data.stages.cleaning import make_reader, read_one
from puna.data.tasks.executors import Executor
from puna.data.tasks.file_tally import is_packed
from puna.shards.mixture import Mixture
from puna.shards.split import HELDOUT, TRAIN, is_heldout

_FILES, _ROWS_SEEN = 5, 20
"""Files, and rows of each, that are looked at to see whether they hold examples."""
Files = dict[str, list[InputFile]]
"""The input files of each source."""


def check_packages(recipe: Recipe, executor: Executor) -> None:
    """Refuse a build whose later steps need a package that is not installed.

    Raises:
        DataError: One is missing.
    """
    library = "sentencepiece" if recipe.tokenizer.kind == "sentencepiece" else "tokenizers"
    trained = [] if recipe.tokenizer.taken_from or recipe.finetune else [library]
    for name in [*trained, "numba", "jinja2", *(["ray"] if executor == "ray" else [])]:
        if find_spec(name) is None:
            error = ModuleNotFoundError(f"No module named {name!r}", name=name)
            raise missing_package(error) or DataError(f"the package {name} is missing", hint=f"`pip install {name}`")


def check_input(recipe: Recipe, out: DataDir, files: Files) -> None:
    """Refuse what cannot give a build, from the names and sizes of the input files alone, and warn of what may not.

    Raises:
        DataError: A split of a source can have no document.
    """
    for name, source in recipe.data.sources.items():
        _tell_format(name, source, files[name])
        _refuse_column(name, source, files[name])
        _refuse_rows(name, source, files[name], recipe.data.max_document_bytes)
        _refuse_splits(name, source, files[name])
        _warn_of_names(name, source, files[name])
    _warn_of_shared(files)
    _warn_of_room(out, files)
    if recipe.finetune:
        return  # its model and its steps are not known before the run
    for sentence, _ in recipe.run_conflicts():
        warn(f"no run with these values can start: {sentence}")
    if recipe.run_conflicts():
        return
    try:
        context = recipe.model.context
        Mixture(recipe.mixture, recipe.seed, [(stage.from_tokens // context, stage.mixture) for stage in recipe.stages])
    except DataError as error:
        warn(f"no run with this mixture can start: {error.message}")


def _tell_format(name: str, source: Source, files: list[InputFile]) -> None:
    """Say which format was taken where the recipe gives none, and what is strange about one that it gives.

    Raises:
        DataError: The recipe gives no format, and files that would be read as text have names of another one.
    """
    given = "format" in source.model_fields_set
    if not given and source.format != "text":
        say(f"source {name!r}: read as {source.format}, by the endings in its include")
    other = [file.name for file in files if format_of(file.name)] if source.format == "text" else []
    if not other:
        return
    many = f"{len(other):,} of {len(files):,} files" if len(files) > 1 else "its file"
    sentence = f"source {name!r}: {many}, such as {other[0]}, would each be read as one document of plain text"
    told = format_of(other[0])
    if given:
        warn(f'{sentence}; data.sources.{name}.format = "{told}" reads what is in them')
        return
    raise DataError(
        f"{sentence}, because the recipe gives no format",
        hint=f'set data.sources.{name}.format to "{told}", or to "text" if that is meant',
    )


def _refuse_column(name: str, source: Source, files: list[InputFile]) -> None:
    """Refuse a column of text that none of the first rows has: hours of reading would end in nothing.

    Raises:
        DataError: With the columns that may be meant.
    """
    if source.format not in ROWS or not (rows := first_rows(files[0], source.format)):
        return
    if any(isinstance(row.get(source.text_field), str) for row in rows):
        return
    may_be, there = text_columns(rows), columns_of(rows)
    hint = f'set data.sources.{name}.text_field to the column of the text, such as "{may_be[0]}"' if may_be else ""
    raise DataError(
        f"source {name!r}: text_field = {source.text_field!r}, but the first {len(rows):,} rows of {files[0].name} "
        f"have no text in that column; there are {', '.join(there)}",
        hint=hint or f"correct data.sources.{name}.text_field",
    )


def example_ids(name: str, source: Source, *, most: int, limit: int) -> list[str]:
    """The ids of the first examples of a source; none where its files cannot be read, which the build says.

    Args:
        name: The source's name.
        source: One of examples, such as conversations.
        most: How many at most.
        limit: Bytes of a row at most.
    """
    try:
        reader = make_reader(name, source, limit)
        rows = (raw for file in list_files(name, source) for raw in reader.records(file))
        read = (read_one(reader, raw, name, {}) for raw in rows if isinstance(raw, Raw | Dropped))
        return [found.id for found in islice((one for one in read if isinstance(one, Document)), most)]
    except (DataError, OSError, ValueError):
        return []


def _refuse_rows(name: str, source: Source, files: list[InputFile], limit: int) -> None:
    """Refuse files whose first rows are all no examples, and say why the first one is none.

    Raises:
        DataError: With the reason and the columns that are there.
    """
    if source.format not in EXAMPLES:
        return
    reader = make_reader(name, source, limit)
    found: list[tuple[str, Dropped]] = []
    for file in files[:_FILES]:
        for raw in islice(reader.records(file), _ROWS_SEEN):
            verdict = read_one(reader, raw, name, {}) if isinstance(raw, Raw | Dropped) else None
            if isinstance(verdict, Document):
                return
            if verdict and verdict.reason != TOO_LARGE:
                found.append((file.name, verdict))
    if found:
        first = found[0][1]
        raise DataError(
            f"source {name!r}: none of the first {counted(len(found), 'row')} is an example of the format "
            f"{source.format!r}. {explain(first.reason)} In {first.id}: {first.detail}",
            hint=f"correct data.sources.{name}.format, or name its columns with data.sources.{name}.columns",
        )


def _refuse_splits(name: str, source: Source, files: list[InputFile]) -> None:
    """Refuse rules that hold out none or all of the documents, where each file is one, so that all ids are known."""
    if source.format != "text" or any(is_packed(file.name) for file in files):
        return
    heldout = sum(is_heldout(source, name, file.name) for file in files)
    if 0 < heldout < len(files):
        return
    field = "heldout_pattern" if source.heldout_pattern else "heldout_fraction"
    split, most = (TRAIN, "all") if heldout else (HELDOUT, "none")
    raise DataError(
        f"source {name!r}: no document is left for the {split} split: {field} = {getattr(source, field)!r} holds out "
        f"{most} of its {len(files):,} files, each of which is a document",
        hint=f"correct data.sources.{name}.{field}",
    )


def _warn_of_names(name: str, source: Source, files: list[InputFile]) -> None:
    """Warn of files that the recipe names one by one and that are not there."""
    named = [pattern for pattern in source.include if not re.search(r"[*?[]", pattern)]
    found = {file.name for file in files}
    for pattern in named:
        if pattern not in found and not source.sites:
            warn(f"source {name!r}: include names {pattern!r}, which is not there")


def _warn_of_shared(files: Files) -> None:
    """Warn of files that two sources read, whose text counts for both of their shares."""
    readers: dict[str, list[str]] = defaultdict(list)
    for name, of_source in files.items():
        for file in of_source:
            readers[file.url].append(name)
    shared: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for url, names in readers.items():
        if len(names) > 1:
            shared[tuple(names)].append(url)
    for names, urls in shared.items():
        many = f" and {len(urls) - 1:,} more" if len(urls) > 1 else ""
        warn(f"the sources {' and '.join(names)} read the same: {urls[0]}{many}")


def _warn_of_room(out: DataDir, files: Files) -> None:
    """Warn where the disk has less room than the input: documents and intermediate results take about as much."""
    size = sum(file.size for of_source in files.values() for file in of_source)
    root = next(path for path in (out.root, *out.root.absolute().parents) if path.exists())
    if (free := shutil.disk_usage(root).free) < size:
        warn(
            f"{out.root}: {format_bytes(free)} are free, the input has {format_bytes(size)}; a build of text that is "
            "kept takes about as much as its input, and one of web pages a part of it"
        )
