"""Finds duplicate documents, in stages of many tasks each.

`keys` writes the keys of one task's documents: the hash of the text, the band keys and the sketch of its MinHash
signature, its sampled shingles. `exact`, `near` and `shared` each read one partition of one kind of keys.
`puna.data.stages.components` turns the results of `near` into pairs: documents that go, each with the one that stays,
which `puna.data.stages.similar` compares; `contained` makes such pairs for the results of `shared`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from puna.config.data import DataConfig
from puna.config.rules import ContainmentRules, DedupConfig, MinHashRules
from puna.data.dedup.containment import SHARED, SHINGLE, contained, sampled_shingles, shared_shingles
from puna.data.dedup.edges import BAND, bucket_edges
from puna.data.dedup.exact import EXACT, duplicates, text_key
from puna.data.dedup.shuffle import Rows
from puna.data.dedup.similar import FEWEST, places, sketch_type
from puna.data.document import CONTAINED, DUPLICATE, Document
from puna.data.document_files import read_numbered
from puna.data.stages.lines import Clean
from puna.data.stages.pairs import read_pairs, write_both_ways, write_pairs
from puna.data.stages.read import Read
from puna.data.stages.turns import conversation_of
from puna.data.tasks.chunks import KEPT, chunk_files
from puna.data.tasks.counts import Counts
from puna.data.tasks.rows import is_among, read_rows, write_rows
from puna.data.tasks.task import Progress, Task, fingerprint_of

Cleaned = Read | Clean
"""The last task that handles documents one at a time."""


SKETCH = "sketch"
"""The kind of the keys by which near duplicates are compared when they have met."""
_JOIN_DOCUMENTS = 4096
"""How many documents' keys become one array: a million small arrays would take longer to write than to make."""


def read_task(task: Cleaned) -> Read:
    """The task that read the documents of a task that cleaned them."""
    return task if isinstance(task, Read) else task.read


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Keys(Task):
    """Writes the keys of the documents of one task."""

    stage: ClassVar[str] = "keys"

    cleaned: Cleaned

    @property
    def made_from(self) -> Any:
        """The documents, and the settings of deduplication that decide the keys."""
        read = read_task(self.cleaned)
        makers = [maker.made_from for maker in key_makers(read.name, read.data)]
        return [self.cleaned.fingerprint, makers, read.data.partitions]

    @property
    def input_bytes(self) -> int:
        """The same as the task of its documents."""
        return self.cleaned.input_bytes

    def work_on(self, progress: Progress) -> Counts:
        """Make keys chunk by chunk; a chunk with finished keys is skipped."""
        read = read_task(self.cleaned)
        names = chunk_files(self.cleaned, KEPT)
        makers = key_makers(read.name, read.data)
        for number, name in enumerate(names):
            left = [
                maker for maker in makers if not (self.directory / f"{maker.kind}-{number:05d}.index.json").is_file()
            ]
            if left:
                for numbered in read_numbered(self.cleaned.checked(name), read.name):
                    for maker in left:
                        maker.add(numbered.number, maker.compared(numbered.document))
                for maker in left:
                    maker.write(self.directory, number, read.data.partitions)
            progress.advance(self.input_bytes // len(names))
        return {}


class KeyMaker:
    """Makes one kind of keys, document by document."""

    kind: str
    dtype: np.dtype[Any]

    def __init__(self, *settings: int) -> None:
        self.made_from = [self.kind, *settings]
        """The settings that decide the keys besides the text."""
        self._rows: list[Rows] = []
        self._joined: list[Rows] = []

    def compared(self, document: Document) -> str:
        """What of a document is compared with others: what it says."""
        return document.text

    def rows(self, number: int, text: str) -> Rows:
        """The keys of a document."""
        raise NotImplementedError

    def add(self, number: int, text: str) -> None:
        """Append the keys of a document."""
        self._rows.append(self.rows(number, text))
        if len(self._rows) == _JOIN_DOCUMENTS:
            self._join()

    def write(self, directory: Path, chunk: int, partitions: int) -> None:
        """Write the keys by partition, and start again without any."""
        self._join()
        write_rows(directory, f"{self.kind}-{chunk:05d}", self._joined, partitions, self.dtype)
        self._joined = []

    def _join(self) -> None:
        if self._rows:
            self._joined.append(np.concatenate(self._rows))
            self._rows = []


class _ExactKeys(KeyMaker):
    kind, dtype = "exact", EXACT

    def compared(self, document: Document) -> str:
        return conversation_of(document.turns) if document.turns else document.text

    def rows(self, number: int, text: str) -> Rows:
        return np.array([(*text_key(text), number)], dtype=EXACT)


class _Signatures:
    """Signatures that are long enough for bands and for sketches; that of the last text is kept for the other one."""

    def __init__(self, rules: MinHashRules) -> None:
        self.rules = rules
        self.banded = rules.bands * rules.rows
        self._last: tuple[str, NDArray[np.uint32]] | None = None

    def of(self, text: str) -> NDArray[np.uint32]:
        """The minima of a text; none if it has no words."""
        from puna.data.dedup.minhash import signature

        if self._last is None or self._last[0] is not text:
            self._last = text, signature(text, self.rules.ngram, max(self.banded, FEWEST))
        return self._last[1]


class _NearKeys(KeyMaker):
    kind, dtype = "near", BAND

    def __init__(self, signatures: _Signatures) -> None:
        rules = signatures.rules
        super().__init__(rules.ngram, rules.bands, rules.rows)
        self._signatures = signatures

    def rows(self, number: int, text: str) -> Rows:
        from puna.data.dedup.minhash import band_keys

        keys = band_keys(self._signatures.of(text)[: self._signatures.banded], self._signatures.rules.bands)
        rows = np.empty(len(keys), dtype=BAND)
        rows["key"], rows["number"] = keys, number
        return rows


class _Sketches(KeyMaker):
    kind = SKETCH

    def __init__(self, signatures: _Signatures) -> None:
        self._signatures = signatures
        self._places = places(signatures.banded)
        self.dtype = sketch_type(self._places)
        super().__init__(signatures.rules.ngram, self._places)

    def rows(self, number: int, text: str) -> Rows:
        minima = self._signatures.of(text)
        rows = np.empty(int(len(minima) > 0), dtype=self.dtype)
        rows["number"], rows["sketch"] = number, minima[: self._places] & np.uint32(255) if len(minima) else 0
        return rows


class _ContainedKeys(KeyMaker):
    kind, dtype = "contained", SHINGLE

    def __init__(self, rules: ContainmentRules) -> None:
        super().__init__(rules.ngram, rules.sample)
        self._rules = rules

    def rows(self, number: int, text: str) -> Rows:
        keys = sampled_shingles(text, self._rules.ngram, self._rules.sample)
        rows = np.empty(len(keys), dtype=SHINGLE)
        rows["key"], rows["number"], rows["count"] = keys, number, len(keys)
        return rows


def key_makers(source: str, data: DataConfig) -> list[KeyMaker]:
    """The makers of keys for a source's documents."""
    dedup, makers = data.dedup, []
    if dedup.exact != "none":
        makers.append(_ExactKeys())
    if source in dedup.near.sources:
        signatures = _Signatures(dedup.near)
        makers += [_NearKeys(signatures), _Sketches(signatures)]
    if source in dedup.contained.sources:
        makers.append(_ContainedKeys(dedup.contained))
    return makers


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class _OfKeys(Task):
    """A task for one partition of one kind of keys."""

    keys: tuple[Keys, ...]
    partition: int

    kind: ClassVar[str]
    row_type: ClassVar[np.dtype[Any]]

    @property
    def made_from(self) -> Any:
        """The keys, and the partition."""
        return [fingerprint_of(self.keys), self.partition]

    @property
    def input_bytes(self) -> int:
        """A guess: keys are a twentieth of the documents."""
        return sum(task.input_bytes for task in self.keys) // (20 * self.partitions) + 1

    @property
    def dedup(self) -> DedupConfig:
        """The recipe's section on deduplication."""
        return read_task(self.keys[0].cleaned).data.dedup

    @property
    def partitions(self) -> int:
        """The number of partitions of the keys."""
        return read_task(self.keys[0].cleaned).data.partitions

    def rows(self) -> Rows:
        """The keys of the partition."""
        return read_rows(self.keys, self.kind, self.partition, self.row_type)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Exact(_OfKeys):
    """Finds equal texts. Memory: 130 bytes per document of all sources, divided by `data.partitions`."""

    stage, kind, row_type = "exact", "exact", EXACT
    reason = DUPLICATE

    @property
    def made_from(self) -> Any:
        """The keys, the partition, and whether sources are compared with each other."""
        return [*super().made_from, self.dedup.exact]

    def work_on(self, progress: Progress) -> Counts:
        """Sort the keys of the partition."""
        return write_pairs(self, duplicates(self.rows(), within=self.dedup.exact == "within"))


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Near(_OfKeys):
    """Finds documents that share a band. Memory: 170 bytes per band and document, divided by `data.partitions`."""

    stage, kind, row_type = "near", "near", BAND

    def work_on(self, progress: Progress) -> Counts:
        """Group the band keys of the partition."""
        return write_both_ways(self, bucket_edges(self.rows()), self.partitions)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Shared(_OfKeys):
    """Counts the sampled shingles that pairs of documents share, for one partition of the shingles.

    Memory: 120 bytes per shingle, divided by `data.partitions`, and 250 MB.
    """

    stage, kind, row_type = "shared", "contained", SHINGLE

    def work_on(self, progress: Progress) -> Counts:
        """Pair the documents of each shingle."""
        shared, in_too_many = shared_shingles(self.rows())
        write_rows(self.directory, "shared-00000", shared, self.partitions, SHARED)
        return {"shingles_in_too_many": in_too_many}


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Contained(Task):
    """Finds documents that another one holds most of. Memory: 180 bytes per pair that shares a shingle."""

    stage: ClassVar[str] = "contained"

    counted: tuple[Shared, ...]
    gone: tuple[Task, ...]
    """The tasks that have found equal and nearly equal documents."""
    partition: int

    reason = CONTAINED

    @property
    def made_from(self) -> Any:
        """The counts of pairs, the threshold, the documents that go anyway, and the partition."""
        tasks = [fingerprint_of(of) for of in (self.counted, self.gone)]
        return [tasks, self.counted[0].dedup.contained.threshold, self.partition]

    @property
    def input_bytes(self) -> int:
        """The size of one partition of the shingles."""
        return self.counted[0].input_bytes

    def work_on(self, progress: Progress) -> Counts:
        """Add up the shared shingles of the partition's pairs."""
        rows = read_rows(self.counted, "shared", self.partition, SHARED)
        gone = [read_pairs(task) for task in self.gone]
        threshold = self.counted[0].dedup.contained.threshold

        def goes_anyway(numbers: NDArray[np.uint64]) -> NDArray[np.bool_]:
            nobody = np.zeros(len(numbers), dtype=bool)
            return np.logical_or.reduce([nobody, *(is_among(numbers, pairs["number"]) for pairs in gone)])

        return write_pairs(self, contained(rows, threshold, goes_anyway))
