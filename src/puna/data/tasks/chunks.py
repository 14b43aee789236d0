"""Chunks of a task: each is written and then marked as done, so that a killed task goes on with the next chunk."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

from puna.core.errors import DataError
from puna.core.files import remove, sha256_file, write_json
from puna.data.document import Document, Dropped
from puna.data.document_files import LinesWriter, document_fields, dropped_fields
from puna.data.tasks.counts import Counts
from puna.data.tasks.task import Task

KEPT, DROPPED, REPORT, DONE = (
    "kept-{:05d}.jsonl.zst",
    "dropped-{:05d}.jsonl.zst",
    "report-{:05d}.jsonl.zst",
    "chunk-{:05d}.json",
)


def chunk_files(task: Task, kind: str) -> list[str]:
    """The names of the files of one kind that a finished task has written, in the order of the chunks.

    Raises:
        DataError: It is not finished, or its record is damaged.
    """
    prefix, _, suffix = kind.partition("{:05d}")
    return task.made(prefix, suffix)


def finished_chunks(directory: Path) -> list[dict[str, Any]]:
    """The notes of the finished chunks, from the first one up to the first gap.

    Raises:
        DataError: A file of a chunk has changed.
    """
    chunks: list[dict[str, Any]] = []
    while (path := directory / DONE.format(len(chunks))).is_file():
        chunk = _read_note(path)
        wrong = [name for name, digest in chunk["files"].items() if _hash(directory / name) != digest]
        if wrong:
            _refuse(directory / wrong[0])
        chunks.append(chunk)
    return chunks


def forget_chunks(directory: Path) -> None:
    """Make a task begin again the next time."""
    for note in directory.glob(DONE.replace("{:05d}", "*")):
        remove(note)


def _read_note(path: Path) -> dict[str, Any]:
    try:
        note = json.loads(path.read_bytes())
        kinds = [type(note[key]) for key in ("next", "counts", "state", "files")]
    except (ValueError, KeyError, TypeError):
        kinds, note = [], {}
    if kinds != [list, dict, dict, dict]:
        _refuse(path)
    return note


def _refuse(path: Path) -> NoReturn:
    raise DataError(
        f"{path}: is not what this build has written", hint=f"delete {path.parent} and build the data again"
    )


def _hash(path: Path) -> str | None:
    return sha256_file(path) if path.is_file() else None


class Chunk:
    """The open files of one chunk; they get their names, and the chunk its note, if the `with` block succeeds.

    Args:
        directory: The task's directory.
        number: The number of the chunk in the task.
        keep_text: Whether dropped documents are written with their text.
        sidecar: Called at the end to write further files of the chunk; returns their names.
    """

    def __init__(
        self, directory: Path, number: int, *, keep_text: bool, sidecar: Callable[[int], list[str]] | None = None
    ) -> None:
        self._directory, self._number, self._keep_text, self._sidecar = directory, number, keep_text, sidecar
        self.counts: Counts = {}
        self.reports: list[dict[str, Any]] = []
        self.state: dict[str, Any] = {}
        """What the task needs to know of its files when it goes on with the next chunk."""
        self.next: list[int] | None = None
        """The position at which the next chunk begins; it must be set before the end."""
        self._names: list[str] = []

    def __enter__(self) -> "Chunk":
        self._stack = ExitStack()
        self._kept = self._open(KEPT)
        self._dropped = self._open(DROPPED)
        return self

    def keep(self, number: int, document: Document) -> None:
        """Write a document that goes on."""
        self._kept.write({"n": number} | document_fields(document))

    def drop(self, number: int, dropped: Dropped) -> None:
        """Write a document that does not go on."""
        fields = {"n": number} | dropped_fields(dropped, with_text=self._keep_text)
        try:
            self._dropped.write(fields)
        except TypeError:
            self._dropped.write({key: _unicode(value) for key, value in fields.items()})

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is None and self.reports:
            with LinesWriter(self._directory / REPORT.format(self._number)) as file:
                for row in self.reports:
                    file.write(row)
            self._names.append(REPORT.format(self._number))
        self._stack.__exit__(kind, error, trace)
        if error is None:
            names = self._names + (self._sidecar(self._number) if self._sidecar else [])
            files = {name: sha256_file(self._directory / name) for name in names}
            note = {"next": self.next, "counts": self.counts, "state": self.state, "files": files}
            write_json(self._directory / DONE.format(self._number), note)

    def _open(self, kind: str) -> LinesWriter:
        name = kind.format(self._number)
        self._names.append(name)
        return self._stack.enter_context(LinesWriter(self._directory / name))


def _unicode(value: Any) -> Any:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
