"""The last stage of the documents: drops duplicates, and splits the rest into training and held-out text."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, ClassVar

from puna.config.data import Source
from puna.data.document import Document, Dropped
from puna.data.document_files import LinesWriter, document_fields, dropped_fields, read_lines, read_numbered
from puna.data.numbers import LAST_RECORD, document_number, position_of
from puna.data.stages.dedup import DuplicatesTask
from puna.data.stages.duplicates import Cleaned, read_task
from puna.data.stages.pairs import pairs_between, read_pairs
from puna.data.stages.read import Read
from puna.data.stages.turns import count_example
from puna.data.tasks.chunks import DROPPED, KEPT, REPORT, chunk_files
from puna.data.tasks.counts import DEDUP, NOT_STATED, NOT_TOLD, Counts, add_text, add_verdict, total
from puna.data.tasks.task import Progress, Task, fingerprint_of
from puna.shards.split import HELDOUT, SPLITS, TRAIN

FILES = {split: f"{split}.jsonl.zst" for split in SPLITS}
DROPPED_FILE, REPORT_FILE = "dropped.jsonl.zst", "report.jsonl.zst"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Finish(Task):
    """Writes the final documents of one task's input, and all dropped ones."""

    stage: ClassVar[str] = "finish"

    cleaned: Cleaned
    found: tuple[DuplicatesTask, ...]
    """The tasks that have found duplicates, in the order in which their reasons count."""
    names: tuple[tuple[str, tuple[str, ...]], ...]
    """For each source of the recipe, its name and those of its files: to name the document that was kept."""

    @property
    def made_from(self) -> Any:
        """The documents, the duplicates found, and the settings of the figures."""
        return [self.cleaned.fingerprint, fingerprint_of(self.found), self.read.source.licence]

    @property
    def input_bytes(self) -> int:
        """The same as the task of its documents."""
        return self.cleaned.input_bytes

    @property
    def read(self) -> Read:
        """The task that read these documents from the input files."""
        return read_task(self.cleaned)

    @property
    def name(self) -> str:
        """The name of the source."""
        return self.read.name

    @property
    def _passed(self) -> list[Cleaned]:
        """The one or two tasks that these documents have passed through."""
        return [*dict.fromkeys([self.read, self.cleaned])]

    def work_on(self, progress: Progress) -> Counts:
        """Copy the documents that stay."""
        counts = total(task.results() for task in self._passed)
        duplicates = self._duplicates()
        keep_text = self.read.data.keep_dropped
        with ExitStack() as stack:
            files = {split: stack.enter_context(LinesWriter(self.directory / FILES[split])) for split in SPLITS}
            dropped = stack.enter_context(LinesWriter(self.directory / DROPPED_FILE))
            names = chunk_files(self.cleaned, KEPT)
            for name in names:
                for numbered in read_numbered(self.cleaned.checked(name), self.name):
                    verdict = self._verdict(numbered.number, numbered.document, duplicates)
                    add_verdict(counts, DEDUP, verdict)
                    if isinstance(verdict, Dropped):
                        dropped.write(dropped_fields(verdict, with_text=keep_text))
                    else:
                        split = HELDOUT if position_of(numbered.number).heldout else TRAIN
                        files[split].write(document_fields(verdict))
                        _describe(counts, split, verdict, self.read.source)
                        if verdict.turns:
                            count_example(counts, verdict.turns, len(verdict.text.encode()))
                progress.advance(self.input_bytes // len(names))
            for fields in self._dropped_before():
                dropped.write(fields)
        self._write_report()
        return counts

    def _verdict(self, number: int, document: Document, duplicates: dict[int, tuple[str, int]]) -> Document | Dropped:
        if number not in duplicates:
            return document
        reason, kept = duplicates[number]
        position = position_of(kept)
        source, files = self.names[position.source]
        name = f"{source}/{files[position.file]}" + (f", record {position.record + 1}" if position.record else "")
        return Dropped(document.source, document.id, reason, name, document.text)

    def _duplicates(self) -> dict[int, tuple[str, int]]:
        """Number, reason and kept number of every duplicate among the documents of this task."""
        index, first, last = self.read.source_index, self.read.files_in[0][0], self.read.files_in[-1][0]
        found: dict[int, tuple[str, int]] = {}
        pairs = [(task.reason, read_pairs(task)) for task in self.found]
        for heldout in (False, True):
            low = document_number(heldout=heldout, source=index, file=first, record=0)
            high = document_number(heldout=heldout, source=index, file=last, record=LAST_RECORD)
            for reason, of in pairs:
                for number, kept in pairs_between(of, low, high):
                    found.setdefault(int(number), (reason, int(kept)))
        return found

    def _dropped_before(self) -> Iterator[dict[str, Any]]:
        for task in self._passed:
            for name in chunk_files(task, DROPPED):
                for fields in read_lines(task.checked(name)):
                    fields.pop("n", None)
                    yield fields

    def _write_report(self) -> None:
        paths = [task.checked(name) for task in self._passed for name in chunk_files(task, REPORT)]
        with LinesWriter(self.directory / REPORT_FILE) as file:
            for path in paths:
                for fields in read_lines(path):
                    file.write(fields)


def _describe(counts: Counts, split: str, document: Document, source: Source) -> None:
    """Add a document that stays to the figures of the card."""
    size = len(document.text.encode())
    for path in (
        [split],
        ["languages", document.language or NOT_TOLD],
        ["licences", document.licence or source.licence or NOT_STATED],
        ["years", document.date[:4] or NOT_TOLD],
    ):
        add_text(counts, path, size)
