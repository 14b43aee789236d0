"""CCNet's removal of repeated lines (Wenzek et al. 2020, section 3.1), in two stages of many tasks.

`lines` finds the hashes that occur more than once in one partition of all lines of a group of files: of a dump, or of
some of its files (`puna.data.stages.line_groups`). `clean` removes these lines from the documents of one task of
`read`, and applies the rules that come after.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from puna.config.data import DataConfig, Source
from puna.core.files import write_bytes
from puna.data.document import Document, Dropped
from puna.data.document_files import read_numbered
from puna.data.stages.cleaning import Chain
from puna.data.stages.read import Read
from puna.data.table import LINES
from puna.data.tasks.chunks import KEPT, Chunk, chunk_files, finished_chunks
from puna.data.tasks.counts import Counts, add_verdict, total
from puna.data.tasks.rows import HASH, is_among, mapped, partition_of, read_rows
from puna.data.tasks.task import Progress, Task, fingerprint_of

_DUPLICATED = "duplicated.bin"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Lines(Task):
    """Finds the hashes of one partition that occur more than once in the group.

    Memory: 25 bytes per line of the group, divided by `data.partitions`.
    """

    stage: ClassVar[str] = "lines"

    reads: tuple[Read, ...]
    """All tasks that read the group's files."""
    partition: int

    @property
    def made_from(self) -> Any:
        """The documents, and the partition of their lines."""
        return [fingerprint_of(self.reads), self.partition, self.reads[0].data.partitions]

    @property
    def input_bytes(self) -> int:
        """A share of the group's size, because the lines are not counted yet."""
        return sum(task.input_bytes for task in self.reads) // self.reads[0].data.partitions + 1

    def work_on(self, progress: Progress) -> Counts:
        """Sort the hashes and write those that have an equal neighbour."""
        from puna.data.dedup.lines import repeated

        hashes = read_rows(self.reads, "lines", self.partition, HASH)
        found = repeated(hashes)
        write_bytes(self.directory / _DUPLICATED, found.astype(HASH).tobytes())
        return {"lines": len(hashes), "duplicated_hashes": len(found)}

    def duplicated(self) -> NDArray[np.uint64]:
        """The hashes of this partition, in order."""
        return mapped(self.checked(_DUPLICATED), HASH)


def line_tasks(reads: Sequence[Read]) -> tuple[Lines, ...]:
    """The tasks that find the repeated lines of a group, one for each partition."""
    first, group = reads[0], tuple(reads)
    return tuple(Lines(work=first.work, reads=group, partition=part) for part in range(first.data.partitions))


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Clean(Task):
    """Removes repeated lines from the documents of one task, then applies the rules that come after."""

    stage: ClassVar[str] = "clean"

    read: Read
    lines: tuple[Lines, ...]

    @property
    def made_from(self) -> Any:
        """The documents and the repeated lines; the rules are part of the documents' fingerprint."""
        return [self.read.fingerprint, fingerprint_of(self.lines)]

    @property
    def input_bytes(self) -> int:
        """The same as the task of its documents."""
        return self.read.input_bytes

    @property
    def source(self) -> Source:
        """The source's section of the recipe."""
        return self.read.source

    @property
    def data(self) -> DataConfig:
        """The data's section of the recipe."""
        return self.read.data

    @cached_property
    def rules_now(self) -> list[str]:
        """The rules after `lines`."""
        return self.source.clean[self.source.clean.index(LINES) + 1 :]

    def work_on(self, progress: Progress) -> Counts:
        """Clean the documents, chunk by chunk of the task that read them."""
        from puna.data.rules.lines import line_hashes, remove_lines

        counts = [chunk["counts"] for chunk in finished_chunks(self.directory)]
        table = self.read.table
        chain = Chain(self.rules_now, self.data, table.path if table else None)
        partitions = [task.duplicated() for task in self.lines]
        min_chars = self.data.rules.lines.min_chars
        names = chunk_files(self.read, KEPT)
        for number, name in enumerate(names):
            if number >= len(counts):
                with Chunk(self.directory, number, keep_text=self.data.keep_dropped) as chunk:
                    for numbered in read_numbered(self.read.checked(name), self.read.name):
                        duplicated = _found(partitions, line_hashes(numbered.document.text))
                        verdict = remove_lines(numbered.document, duplicated, min_chars)
                        add_verdict(chunk.counts, LINES, verdict)
                        if isinstance(verdict, Document):
                            verdict = chain(verdict, chunk.counts)
                        if isinstance(verdict, Dropped):
                            chunk.drop(numbered.number, verdict)
                        else:
                            chunk.keep(numbered.number, verdict)
                    chunk.next, chunk.reports = [number + 1, 0], chain.reports()
                counts.append(chunk.counts)
            progress.advance(self.input_bytes // len(names))
        return total(counts)


def _found(partitions: list[NDArray[np.uint64]], hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The `hashes` that are in the partitions, sorted; the partitions stay on the disk."""
    hashes = np.unique(hashes)
    owners = partition_of(hashes, len(partitions))
    found = []
    for owner in np.unique(owners):
        wanted = hashes[owners == owner]
        found.append(wanted[is_among(wanted, partitions[owner])])
    return np.sort(np.concatenate([hashes[:0], *found]))
