"""The first stage: records of input files become documents and pass through the rules for single documents."""

import importlib.metadata
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path, PurePath
from typing import Any, ClassVar

import numpy as np

from puna.config.data import DataConfig, Source
from puna.config.plugins import rule_key
from puna.core.errors import DataError, UserError
from puna.core.version import VERSION
from puna.data.document import READER_FAILED, Document, Dropped, Lost, Raw, Reader
from puna.data.input.sources import is_remote
from puna.data.input_file import ChangedFileError, InputFile
from puna.data.numbers import document_number
from puna.data.reasons import check_reason
from puna.data.stages.cleaning import Chain, make_reader, read_one, without_lost
from puna.data.stages.line_groups import Files
from puna.data.stages.rule_inputs import Table
from puna.data.table import DECONTAMINATE, LINES, find_reader, used_plugins
from puna.data.tasks.chunks import Chunk, finished_chunks, forget_chunks
from puna.data.tasks.counts import Counts, add_lost, add_verdict, total
from puna.data.tasks.file_tally import FileTally, fewer_names
from puna.data.tasks.task import Progress, Task
from puna.shards.split import is_heldout

_PACKAGES = (
    "fastwarc",
    "resiliparse",
    "mwparserfromhell",
    "lxml",
    "pyarrow",
    "fasttext-numpy2-wheel",
    "kenlm",
    "numba",
)
"""Packages that may read or judge differently in another version."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Read(Task):
    """Reads some files of a source, one after the other."""

    stage: ClassVar[str] = "read"

    name: str
    """The name of the source."""
    source: Source
    data: DataConfig
    source_index: int
    """The source's place in the recipe."""
    files_in: tuple[tuple[int, InputFile], ...]
    """The files with their places in the source."""
    version: str
    """The package or directory with its version, for people."""
    models: tuple[tuple[str, tuple[str, ...]], ...]
    """The hashes of each rule's models, for rules with models."""
    table: Table | None
    """The task that writes the table of evaluation sets, if the source is compared with them."""

    @property
    def made_from(self) -> Any:
        """The source's section of the recipe, its rules, the files, and the versions of the packages that read them."""
        rules = self.data.rules.model_dump()
        plugins = used_plugins(self.data, [self.name])
        settings = self.source.model_dump(exclude={"licence", "clean", "include", "exclude"})
        if not is_remote(self.source):
            settings["path"] = PurePath(self.source.path).name  # of the rest of it, nothing comes into a document
        return {
            "source": settings | {"name": self.name, "index": self.source_index},
            "clean": self.rules_now,
            "rules": {name: rules[rule_key(name)] for name in self.source.clean},
            "limits": [self.data.max_document_bytes, self.data.chunk_bytes, self.data.keep_dropped],
            "partitions": self.data.partitions if LINES in self.source.clean else 0,
            "files": [[index, file.name, file.size, file.stamp] for index, file in self.files_in],
            "version": self.version,
            "models": [[name, *hashes] for name, hashes in self.models if name in self.source.clean],
            "evaluation_sets": self.table.fingerprint if self.table else "",
            "packages": {"puna": VERSION} | {name: _version(name) for name in _PACKAGES},
            "unicode": unicodedata.unidata_version,
        } | ({"plugins": plugins} if plugins else {})

    @property
    def input_bytes(self) -> int:
        """The size of its files as stored on the disk."""
        return sum(file.size for _, file in self.files_in)

    @cached_property
    def rules_now(self) -> list[str]:
        """The rules of the source up to `lines`, which needs all documents at once."""
        clean = self.source.clean
        return clean[: clean.index(LINES)] if LINES in clean else clean

    def work_on(self, progress: Progress) -> Counts:
        """Go on reading at the end of the finished chunks."""
        done = finished_chunks(self.directory)
        lines = _LineRows(self) if LINES in self.source.clean else None
        spec = find_reader(self.source.format)
        reader = make_reader(self.name, self.source, self.data.max_document_bytes)
        chain = Chain(self.rules_now, self.data, self.table.path if self.table else None)
        first = tuple(done[-1]["next"]) if done else (0, 0)
        counts = [chunk["counts"] for chunk in done]
        tally = FileTally([file for _, file in self.files_in], done[-1]["state"] if done else {})
        records = self._records(reader, first, progress)
        sidecar = lines.write if lines else None
        for number, (_, group) in enumerate(groupby(records, key=lambda record: record[0]), start=len(done)):
            with Chunk(self.directory, number, keep_text=self.data.keep_dropped, sidecar=sidecar) as chunk:
                for _, position, after, raw in group:
                    chunk.next = after
                    if isinstance(raw, Lost):
                        check_reason(spec, raw)
                        add_lost(chunk.counts, [raw], documents=0)
                        continue
                    verdict = read_one(reader, raw, self.name, chunk.counts)
                    tally.add(after[0], raw, verdict, chunk.counts)
                    if isinstance(verdict, Dropped):
                        check_reason(spec, verdict)
                    if isinstance(verdict, Document):
                        verdict = without_lost(spec, verdict, chunk.counts)
                        verdict = chain(replace(verdict, origin=f"{self.version}: {verdict.id}"), chunk.counts)
                    if lines and isinstance(verdict, Document):
                        verdict = lines.refuse_short(verdict, chunk.counts)
                    self._write(chunk, position, verdict, lines)
                chunk.reports, chunk.state = chain.reports(), tally.state
                counts.append(chunk.counts)
        last: Counts = {}
        tally.reach(len(self.files_in), last)
        return fewer_names(total([*counts, last]))

    def _records(
        self, reader: Reader, first: tuple[int, ...], progress: Progress
    ) -> Iterator[tuple[int, tuple[int, int], list[int], Raw | Dropped | Lost]]:
        """Records from a position on: number of the chunk, position, the position after it, record."""
        size = chunk = 0
        for order, (index, file) in enumerate(self.files_in):
            if order >= first[0]:
                for record, raw in enumerate(self._records_of(reader, file, progress)):
                    if (order, record) >= first:
                        if size >= self.data.chunk_bytes:
                            size, chunk = 0, chunk + 1
                        size += _size(raw)
                        yield chunk, (index, record), [order, record + 1], raw
            else:
                progress.advance(file.size)

    def _records_of(self, reader: Reader, file: InputFile, progress: Progress) -> Iterator[Raw | Dropped | Lost]:
        """The records of a file.

        Raises:
            DataError: The disk or the network has failed; the rest may be readable the next time.
        """
        failures: list[Exception] = []
        try:
            yield from reader.records(file.watched(progress.advance, failures.append))
        except (MemoryError, ImportError, UserError):
            raise
        except Exception as error:
            yield Dropped(self.name, f"{file.name}#end", READER_FAILED, f"{type(error).__name__}: {error}"[:500])
        if change := next((error for error in failures if isinstance(error, ChangedFileError)), None):
            forget_chunks(self.directory)  # what was read may be of two files
            raise DataError(
                f"{file.url}: is no longer what was listed when the build began: {change}",
                hint="let nothing write to the input while it is read, then run the same command again: it lists the "
                "files again",
            )
        if failures:
            raise DataError(
                f"{file.url}: could not be read to its end ({type(failures[0]).__name__}: {failures[0]})",
                hint="run the same command again, what is done is kept; if it stays so, leave the file out by "
                f"data.sources.{self.name}.exclude",
            )

    def _write(
        self, chunk: Chunk, position: tuple[int, int], verdict: Document | Dropped, lines: "_LineRows | None"
    ) -> None:
        heldout = is_heldout(self.source, self.name, verdict.id)
        file, record = position
        number = document_number(heldout=heldout, source=self.source_index, file=file, record=record)
        if isinstance(verdict, Dropped):
            chunk.drop(number, verdict)
        else:
            chunk.keep(number, verdict)
            if lines:
                lines.add(verdict.text)


class _LineRows:
    """The hashes of the lines of a chunk, for the stage that looks for repeated lines."""

    def __init__(self, task: Read) -> None:
        self._task = task
        self._hashes: list[Any] = []

    def refuse_short(self, document: Document, counts: Counts) -> Document | Dropped:
        """The document, unless it is too short before lines are removed; then its lines are not compared either."""
        from puna.data.rules.lines import too_short

        if dropped := too_short(document, self._task.data.rules.lines.min_chars):
            add_verdict(counts, LINES, dropped)
            return dropped
        return document

    def add(self, text: str) -> None:
        """Add the lines of a document."""
        from puna.data.rules.lines import line_hashes

        # A line counts once for each document: cc_net compares a document with those before it.
        self._hashes.append(np.unique(line_hashes(text)))

    def write(self, number: int) -> list[str]:
        """Write the hashes by partition, and start again without any; returns the names of the files."""
        from puna.data.tasks.rows import HASH, write_rows

        hashes, self._hashes = self._hashes, []
        return write_rows(self._task.directory, f"lines-{number:05d}", hashes, self._task.data.partitions, HASH)


def read_tasks(
    work: Path, data: DataConfig, name: str, files: Files, version: str, models: dict[str, list[str]],
    table: Table | None,
) -> list[Read]:  # fmt: skip
    """The tasks that read files: in order, up to `data.task_bytes` each.

    Args:
        work: The build's directory of intermediate results.
        data: The data's section of the recipe.
        name: The name of the source.
        files: Files of the source with their places in it.
        version: The package or directory with its version, for people.
        models: The hashes of each rule's models.
        table: The task that writes the table of evaluation sets, if there is one.
    """
    groups: list[list[tuple[int, InputFile]]] = []
    size = 0
    for index, file in files:
        if not groups or size + file.size > data.task_bytes:
            groups.append([])
            size = 0
        groups[-1].append((index, file))
        size += file.size
    source_index = list(data.sources).index(name)
    source = data.sources[name]
    hashes = tuple((rule, tuple(digests)) for rule, digests in models.items())
    compared = table if DECONTAMINATE in source.clean else None
    return [
        Read(
            work=work, name=name, source=source, data=data, source_index=source_index, files_in=tuple(group),
            version=version, models=hashes, table=compared,
        )
        for group in groups
    ]  # fmt: skip


def _size(raw: Raw | Dropped | Lost) -> int:
    """Bytes that a chunk holds of a record."""
    return len(raw.content) if isinstance(raw, Raw) else len(raw.text) if isinstance(raw, Dropped) else 0


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
